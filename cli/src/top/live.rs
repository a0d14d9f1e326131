//! Keeps a frame on the terminal and up to date until q.

use std::path::Path;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Paragraph;

use super::frame::frame;
use crate::failure::Failure;
use crate::local;
use crate::out::{Paint, PaintedLine, clean};

/// The agent samples once a second.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Lines of one page step.
const PAGE: u16 = 10;

/// Shows the host until q; the terminal is given back as it was.
pub fn live(socket: &Path, color: bool) -> Result<(), Failure> {
    // The first question is asked before the screen is taken, so that its error can be read.
    local::status(socket)?;
    let mut terminal = ratatui::try_init()
        .map_err(|error| Failure::failed(format!("cannot take the terminal: {error}")))?;
    let ended = follow(&mut terminal, socket, color);
    ratatui::restore();
    ended
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Up(u16),
    Down(u16),
    Home,
    Nothing,
}

fn follow(terminal: &mut DefaultTerminal, socket: &Path, color: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot draw: {error}"));
    let mut from: u16 = 0;
    loop {
        let width = usize::from(terminal.size().map_err(failed)?.width);
        let lines = match local::status(socket) {
            Ok(status) => frame(&status, width),
            Err(failure) => vec![
                vec![(clean(&failure.message), Paint::Bad)],
                vec![("tries again every second; q quits".to_owned(), Paint::Dim)],
            ],
        };
        let all = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        loop {
            from = draw(terminal, &lines, all, from, color).map_err(failed)?;
            if !event::poll(REFRESH_EVERY).map_err(failed)? {
                break;
            }
            match wish(&event::read().map_err(failed)?) {
                Wish::Quit => return Ok(()),
                Wish::Up(by) => from = from.saturating_sub(by),
                Wish::Down(by) => from = from.saturating_add(by),
                Wish::Home => from = 0,
                Wish::Nothing => break,
            }
        }
    }
}

/// Draws; gives back the first line that is shown, so that scrolling ends with the last one.
fn draw(
    terminal: &mut DefaultTerminal,
    lines: &[PaintedLine],
    all: u16,
    from: u16,
    color: bool,
) -> std::io::Result<u16> {
    let mut shown = from;
    terminal.draw(|frame| {
        let area = frame.area();
        shown = from.min(all.saturating_sub(area.height));
        let text: Vec<Line> = lines.iter().map(|line| to_line(line, color)).collect();
        frame.render_widget(Paragraph::new(Text::from(text)).scroll((shown, 0)), area);
    })?;
    Ok(shown)
}

fn to_line(line: &PaintedLine, color: bool) -> Line<'_> {
    Line::from(
        line.iter()
            .map(|(text, paint)| Span::styled(text.as_str(), style(*paint, color)))
            .collect::<Vec<Span>>(),
    )
}

fn style(paint: Paint, color: bool) -> Style {
    let style = Style::new();
    if !color {
        return style;
    }
    match paint {
        Paint::Plain => style,
        Paint::Good => style.green(),
        Paint::Warn => style.yellow(),
        Paint::Bad => style.red().add_modifier(Modifier::BOLD),
        Paint::Dim => style.add_modifier(Modifier::DIM),
        Paint::Bold => style.add_modifier(Modifier::BOLD),
    }
}

fn wish(event: &Event) -> Wish {
    let Event::Key(key) = event else {
        return Wish::Nothing;
    };
    if key.kind != KeyEventKind::Press {
        return Wish::Nothing;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        KeyCode::Up | KeyCode::Char('k') => Wish::Up(1),
        KeyCode::Down | KeyCode::Char('j') => Wish::Down(1),
        KeyCode::PageUp => Wish::Up(PAGE),
        KeyCode::PageDown | KeyCode::Char(' ') => Wish::Down(PAGE),
        KeyCode::Home | KeyCode::Char('g') => Wish::Home,
        _ => Wish::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn q_escape_and_control_c_quit_and_arrows_scroll() {
        let press = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Wish::Quit);
        assert_eq!(press(KeyCode::Esc, KeyModifiers::NONE), Wish::Quit);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::Quit);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Wish::Nothing);
        assert_eq!(press(KeyCode::Down, KeyModifiers::NONE), Wish::Down(1));
    }

    #[test]
    fn a_painted_line_is_drawn_with_its_colours() {
        let mut terminal = Terminal::new(TestBackend::new(8, 1)).unwrap();
        let line: PaintedLine = vec![("up".into(), Paint::Good), (" x".into(), Paint::Plain)];
        terminal
            .draw(|frame| {
                frame.render_widget(Paragraph::new(to_line(&line, true)), frame.area());
            })
            .unwrap();
        let buffer = terminal.backend().buffer();
        assert_eq!(buffer[(0, 0)].symbol(), "u");
        assert_eq!(
            buffer[(0, 0)].style().fg,
            Some(ratatui::style::Color::Green)
        );
        assert_eq!(buffer[(3, 0)].symbol(), "x");
    }
}
