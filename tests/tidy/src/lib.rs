//! The repository lints itself: what no compiler checks and a reviewer should not have to.
//!
//! [`tree::Tree`] is the work tree as text, [`rules::ALL`] the table of rules, one file each.
//! tests/tidy.rs runs them on this repository; each rule's own tests show that it bites.

pub mod rules;
pub mod rust;
pub mod tree;

use std::fmt;

/// One thing that is not tidy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path from the top of the tree.
    pub file: String,
    /// From 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}; {}",
            self.file, self.line, self.what, self.remedy
        )
    }
}

/// All that the rules find, each with its rule's name, in order.
#[must_use]
pub fn check(tree: &tree::Tree) -> Vec<(&'static str, Violation)> {
    let mut found = Vec::new();
    for rule in rules::ALL {
        let mut violations = (rule.check)(tree);
        violations.sort();
        found.extend(violations.into_iter().map(|v| (rule.name, v)));
    }
    found
}
