//! The table of rules. One file and one row each.

mod allows;
mod arrows;
mod clocks;
mod configs;
mod file_heads;
mod file_length;
mod fixtures;
mod function_length;
mod line_width;
mod links;
mod purity;
mod watchdog_size;

use crate::Violation;
use crate::tree::Tree;

/// One rule.
pub struct Rule {
    /// As it is printed.
    pub name: &'static str,
    /// All that breaks it.
    pub check: fn(&Tree) -> Vec<Violation>,
}

/// All of them.
pub const ALL: &[Rule] = &[
    Rule {
        name: "crate arrows equal docs/ARCHITECTURE.md",
        check: arrows::check,
    },
    Rule {
        name: "cores are pure",
        check: purity::check,
    },
    Rule {
        name: "clocks are read in one place",
        check: clocks::check,
    },
    Rule {
        name: "files are small",
        check: file_length::check,
    },
    Rule {
        name: "functions are small",
        check: function_length::check,
    },
    Rule {
        name: "lines are short",
        check: line_width::check,
    },
    Rule {
        name: "files say what they are for",
        check: file_heads::check,
    },
    Rule {
        name: "links resolve",
        check: links::check,
    },
    Rule {
        name: "fixtures are used",
        check: fixtures::check,
    },
    Rule {
        name: "bad configurations are used",
        check: configs::check,
    },
    Rule {
        name: "lints are expected with a reason",
        check: allows::check,
    },
    Rule {
        name: "the watchdog is small",
        check: watchdog_size::check,
    },
];
