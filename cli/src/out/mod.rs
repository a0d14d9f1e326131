//! What people and programs read: where output goes, whether it is coloured, how wide it may be.

mod table;
mod text;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::args::Color;
use crate::failure::Failure;
pub use table::{Cell, Column, PaintedLine, Table, paint_line};
pub use text::{
    ago, bytes, clean, clock_time, cut, json_safe, micros, per_mille, since_boot, stamp, width,
};

/// How a piece of text stands out. Meaning, not colour: the colour is chosen in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// As it is.
    #[default]
    Plain,
    /// Well.
    Good,
    /// Somebody should look.
    Warn,
    /// Does not do its job.
    Bad,
    /// Beside the point.
    Dim,
    /// The point.
    Bold,
}

impl Paint {
    /// The SGR parameters of ECMA-48; the eight basic colours, which every terminal's own palette
    /// keeps readable on its own background.
    const fn sgr(self) -> &'static str {
        match self {
            Paint::Plain => "",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "1;31",
            Paint::Dim => "2",
            Paint::Bold => "1",
        }
    }

    /// The text, painted if `color`.
    pub fn on(self, text: &str, color: bool) -> String {
        match self.sgr() {
            sgr if color && !sgr.is_empty() => format!("\x1b[{sgr}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Where output goes.
#[derive(Debug)]
pub struct Screen {
    /// Colour standard output.
    pub color: bool,
    /// JSON instead of text.
    pub json: bool,
    /// Columns of the terminal; `None` where nothing needs to be fitted.
    pub width: Option<usize>,
    color_errors: bool,
    gone: AtomicBool,
}

impl Screen {
    /// As this process's own output wants it.
    pub fn of_process(color: Color, json: bool) -> Screen {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|v| v != "dumb");
        let decide = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && allowed,
        };
        let terminal = std::io::stdout().is_terminal();
        let width = terminal
            .then(ratatui::crossterm::terminal::size)
            .and_then(Result::ok)
            .map(|(columns, _)| usize::from(columns))
            .filter(|columns| *columns > 0);
        Screen {
            color: decide(terminal),
            json,
            width,
            color_errors: decide(std::io::stderr().is_terminal()),
            gone: AtomicBool::new(false),
        }
    }

    /// A file: no colours, nothing to fit.
    pub const fn plain() -> Screen {
        Screen {
            color: false,
            json: false,
            width: None,
            color_errors: false,
            gone: AtomicBool::new(false),
        }
    }

    /// Prints a line (or several) on standard output.
    ///
    /// A reader that went away (`| head`) is no failure of ours: it is remembered in
    /// [`Screen::gone`], so that what runs for long can end.
    pub fn say(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    /// True once nobody reads standard output any more.
    pub fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The text, painted if this screen has colours.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        paint.on(text, self.color)
    }

    /// Prints a table.
    pub fn table(&self, table: &Table) {
        self.say(&table.render(self.width, self.color));
    }

    /// Prints a value as indented JSON.
    pub fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_value(value)
            .map(|value| format!("{value:#}"))
            .map_err(|e| Failure::failed(format!("cannot write the answer as JSON: {e}")))?;
        self.say(&json_safe(&text));
        Ok(())
    }

    /// Prints a value as one line of JSON.
    pub fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|e| Failure::failed(format!("cannot write the line as JSON: {e}")))?;
        self.say(&json_safe(&text));
        Ok(())
    }

    /// Prints an error on standard error.
    pub fn error(&self, failure: &Failure) {
        let head = Paint::Bad.on("error:", self.color_errors);
        let text = failure.to_string();
        let text: Vec<String> = text.lines().map(clean).collect();
        // Nothing is left to do when standard error cannot be written.
        let _ = writeln!(std::io::stderr(), "{head} {}", text.join("\n"));
    }

    /// Prints a remark on standard error.
    pub fn note(&self, text: &str) {
        let _ = writeln!(
            std::io::stderr(),
            "{}",
            Paint::Dim.on(&clean(text), self.color_errors)
        );
    }
}
