//! The watchdog stays small enough to be read whole before it is trusted.

use crate::Violation;
use crate::tree::Tree;

/// Lines of code in watchdog/src, neither blank nor comment alone: it grows by no feature without
/// losing another.
const CODE_LINES_MAX: usize = 1060;

const REMEDY: &str = "do it in the agent, or not at all";

/// Counts the lines of all its files together.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let files = tree
        .with_ending("rs")
        .filter(|(file, _)| file.starts_with("watchdog/src/"));
    let lines: usize = files
        .map(|(_, text)| text.lines().filter(code).count())
        .sum();
    let violation = Violation {
        file: "watchdog/src".to_owned(),
        line: 0,
        what: format!("{lines} lines of code, more than {CODE_LINES_MAX}"),
        remedy: REMEDY,
    };
    (lines > CODE_LINES_MAX)
        .then_some(violation)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_one_line_above_the_limit_over_all_files() {
        let half = "//! a\n\n    // b\nlet c = 1; // d\n".repeat(CODE_LINES_MAX / 2);
        let over = format!("{half}fn e() {{}}\n");
        let at = Tree::of(&[
            ("watchdog/src/a.rs", &half),
            ("watchdog/src/b.rs", &half),
            ("watchdog/tests/c.rs", &half),
        ]);
        assert_eq!(check(&at), []);
        let tree = Tree::of(&[("watchdog/src/a.rs", &half), ("watchdog/src/b.rs", &over)]);
        assert_eq!(check(&tree).len(), 1);
    }
}
