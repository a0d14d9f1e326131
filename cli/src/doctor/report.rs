//! The examination as people read it: what is well in one line, what is not with price and remedy.

use super::{Group, Row, State};
use crate::out::{Cell, Column, Paint, Screen, Table, clean, width};

/// Columns of a text that is not on a terminal.
const WIDTH_DEFAULT: usize = 100;

/// Never narrower: words would be cut to pieces.
const WIDTH_MIN: usize = 40;

const fn paint(state: State) -> Paint {
    match state {
        State::Ok => Paint::Good,
        State::Warning => Paint::Warn,
        State::Missing => Paint::Bad,
    }
}

/// The whole report.
pub fn render(groups: &[Group], screen: &Screen) -> String {
    let mut lines = Vec::new();
    for group in groups {
        lines.push(screen.paint(Paint::Bold, group.group));
        for row in &group.checks {
            lines.extend(of_row(row, screen));
        }
    }
    lines.push(String::new());
    lines.push(summary(groups, screen));
    lines.join("\n")
}

fn of_row(row: &Row, screen: &Screen) -> Vec<String> {
    let limit = screen.width.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN);
    let mut table = Table::bare(&[Column::left("state"), Column::left("text")], 2);
    let state = format!("{:7}", row.state.word());
    let text = clean(&format!("{}: {}", row.check, row.seen));
    let indent = 2 + state.len() + 2;
    let mut pieces = wrap(&text, limit.saturating_sub(indent)).into_iter();
    table.row(vec![
        Cell::painted(state, paint(row.state)),
        pieces.next().unwrap_or_default().into(),
    ]);
    let mut lines = vec![table.render(None, screen.color)];
    let pad = " ".repeat(indent);
    lines.extend(pieces.map(|piece| format!("{pad}{piece}")));
    for (name, text) in [("costs", &row.costs), ("remedy", &row.remedy)] {
        let Some(text) = text else { continue };
        let room = limit.saturating_sub(indent + 8);
        for (at, piece) in wrap(&clean(text), room).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            let name = screen.paint(Paint::Dim, &format!("{name:6}"));
            lines.push(format!("{pad}{name}  {piece}"));
        }
    }
    lines
}

/// Whole words, at most so many columns in a line.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn summary(groups: &[Group], screen: &Screen) -> String {
    let count = |state| {
        let rows = groups.iter().flat_map(|group| &group.checks);
        rows.filter(|row| row.state == state).count()
    };
    let (missing, warnings) = (count(State::Missing), count(State::Warning));
    let text = format!(
        "{missing} missing, {warnings} warnings, {} ok",
        count(State::Ok)
    );
    let worst = match (missing, warnings) {
        (0, 0) => State::Ok,
        (0, _) => State::Warning,
        _ => State::Missing,
    };
    screen.paint(paint(worst), &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{fine, missing};

    #[test]
    fn what_is_missing_says_what_it_costs_and_what_to_do() {
        let costs =
            "a host whose kernel hangs is not reset, and keeps its work for longer than it may";
        let groups = [Group {
            group: "watchdog",
            checks: vec![
                fine("daemon", "/run/w.sock"),
                missing("device", "none", costs, "modprobe softdog"),
            ],
        }];
        let mut screen = Screen::plain();
        screen.width = Some(60);
        assert_eq!(
            render(&groups, &screen),
            "\
watchdog
  ok       daemon: /run/w.sock
  missing  device: none
           costs   a host whose kernel hangs is not reset,
                   and keeps its work for longer than it may
           remedy  modprobe softdog

1 missing, 0 warnings, 1 ok"
        );
    }
}
