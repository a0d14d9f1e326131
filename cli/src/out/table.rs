//! Tables that fit the terminal: columns as wide as their longest cell, and where that is too much,
//! the columns that may give way are cut with `…`.

use super::text::{cut, width};
use super::{Paint, clean};

/// Spaces between two columns.
const GAP: usize = 2;

/// To which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// To which side.
    pub align: Align,
    /// How narrow it may become; `None` never gives way.
    pub least: Option<usize>,
}

impl Column {
    /// Words that are never cut.
    pub const fn left(name: &'static str) -> Column {
        Column {
            name,
            align: Align::Left,
            least: None,
        }
    }

    /// Numbers.
    pub const fn right(name: &'static str) -> Column {
        Column {
            name,
            align: Align::Right,
            least: None,
        }
    }

    /// Words that may be cut to `least` columns.
    pub const fn flexible(name: &'static str, least: usize) -> Column {
        Column {
            name,
            align: Align::Left,
            least: Some(least),
        }
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell that stands out in this way.
    pub fn painted(text: impl AsRef<str>, paint: Paint) -> Cell {
        Cell {
            text: clean(text.as_ref()),
            paint,
        }
    }

    /// A cell whose value may be unknown.
    pub fn maybe(text: Option<impl AsRef<str>>) -> Cell {
        match text {
            Some(text) => Cell::from(text.as_ref()),
            None => Cell::painted("-", Paint::Dim),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::painted(text, Paint::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::from(text.as_str())
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    headed: bool,
    indent: usize,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[Column]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
            headed: true,
            indent: 0,
        }
    }

    /// Without the line of headings, and with so many spaces in front of each row.
    pub fn bare(columns: &[Column], indent: usize) -> Table {
        Table {
            headed: false,
            indent,
            ..Table::new(columns)
        }
    }

    /// The same table with so many spaces in front of each line.
    pub fn indented(self, indent: usize) -> Table {
        Table { indent, ..self }
    }

    /// Adds a row. Cells that are missing are empty, cells beyond the columns are left out.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// True when no row was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, at most `limit` columns wide where that is possible, without a line end.
    pub fn render(&self, limit: Option<usize>, color: bool) -> String {
        let lines: Vec<String> = self
            .lines(limit)
            .iter()
            .map(|line| paint_line(line, color))
            .collect();
        lines.join("\n")
    }

    /// The table as painted pieces, line by line.
    pub fn lines(&self, limit: Option<usize>) -> Vec<PaintedLine> {
        let widths = self.widths(limit);
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if self.headed {
            let heads: Vec<Cell> = self
                .columns
                .iter()
                .map(|c| Cell::painted(c.name, Paint::Dim))
                .collect();
            lines.push(self.line(&heads, &widths));
        }
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        lines
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|c| if self.headed { width(c.name) } else { 0 })
            .collect();
        for row in &self.rows {
            for (wide, cell) in widths.iter_mut().zip(row) {
                *wide = (*wide).max(width(&cell.text));
            }
        }
        let Some(limit) = limit else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1) + self.indent;
        // The widest column that may give way gives first, one step at a time, so that two long
        // columns end up equally wide.
        while widths.iter().sum::<usize>() + gaps > limit {
            let widest = (0..widths.len())
                .filter(|i| {
                    self.columns[*i]
                        .least
                        .is_some_and(|least| widths[*i] > least)
                })
                .max_by_key(|i| widths[*i]);
            match widest {
                Some(i) => widths[i] -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> PaintedLine {
        let mut line = vec![(" ".repeat(self.indent), Paint::Plain)];
        let last = cells.iter().rposition(|cell| !cell.text.is_empty());
        for (i, ((cell, wide), column)) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            // Nothing is added behind the last text of a line: trailing spaces wrap.
            if last.is_none_or(|last| i > last) {
                break;
            }
            let text = cut(&cell.text, *wide);
            let mut space = " ".repeat(wide.saturating_sub(width(&text)));
            match column.align {
                Align::Right => {
                    line.push((space, Paint::Plain));
                    space = String::new();
                }
                Align::Left if Some(i) == last => space = String::new(),
                Align::Left => {}
            }
            line.push((text, cell.paint));
            if Some(i) != last {
                space.push_str(&" ".repeat(GAP));
            }
            line.push((space, Paint::Plain));
        }
        line.retain(|(text, _)| !text.is_empty());
        line
    }
}

/// Pieces of one line, each standing out in its own way.
pub type PaintedLine = Vec<(String, Paint)>;

/// The line as text.
pub fn paint_line(line: &PaintedLine, color: bool) -> String {
    line.iter()
        .map(|(text, paint)| paint.on(text, color))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Table {
        let mut table = Table::new(&[
            Column::left("NODE"),
            Column::left("STATE"),
            Column::right("CPU"),
            Column::flexible("WHY", 8),
        ]);
        table.row(vec![
            "node-1".into(),
            Cell::painted("alive", Paint::Good),
            "12.5%".into(),
            Cell::maybe(None::<&str>),
        ]);
        table.row(vec![
            "node-10".into(),
            Cell::painted("lost", Paint::Bad),
            "3.0%".into(),
            "no heartbeat for 4.2s, its will arrived".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        assert_eq!(
            fleet().render(None, false),
            "\
NODE     STATE    CPU  WHY
node-1   alive  12.5%  -
node-10  lost    3.0%  no heartbeat for 4.2s, its will arrived"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_only_what_may_give_way() {
        assert_eq!(
            fleet().render(Some(40), false),
            "\
NODE     STATE    CPU  WHY
node-1   alive  12.5%  -
node-10  lost    3.0%  no heartbeat for…"
        );
        let narrowest = fleet().render(Some(5), false);
        assert!(
            narrowest.contains("node-10  lost    3.0%  no hear…"),
            "{narrowest}"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        assert_eq!(
            fleet().render(None, true).lines().nth(1),
            Some("node-1   \x1b[32malive\x1b[0m  12.5%  \x1b[2m-\x1b[0m")
        );
    }

    #[test]
    fn a_cell_cannot_leave_its_line_nor_drive_the_terminal() {
        let mut table = Table::new(&[Column::left("NODE")]);
        table.row(vec!["evil\n\x1b[31mname".into()]);
        assert_eq!(table.render(None, false), "NODE\nevil \u{fffd}[31mname");
    }

    #[test]
    fn a_bare_table_has_no_head_and_is_indented() {
        let mut table = Table::bare(&[Column::left("a"), Column::left("b")], 2);
        table.row(vec!["x".into(), "y".into()]);
        assert_eq!(table.render(None, false), "  x  y");
    }
}
