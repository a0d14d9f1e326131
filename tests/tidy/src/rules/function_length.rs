//! A function fits on one screen.

use crate::Violation;
use crate::rust::{blanked, functions};
use crate::tree::Tree;

/// One tall screen; clippy.toml has the same number.
const LINES_MAX: usize = 70;

const REMEDY: &str = "give a part of it a name and a function of its own";

/// Finds functions that are too long, tests too.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("rs") {
        for function in functions(&blanked(text)) {
            let lines = function.last - function.first + 1;
            if lines > LINES_MAX {
                found.push(Violation {
                    file: file.to_owned(),
                    line: function.first,
                    what: format!(
                        "fn {} has {lines} lines, more than {LINES_MAX}",
                        function.name
                    ),
                    remedy: REMEDY,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_one_line_above_the_limit() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "  x();\n".repeat(lines));
        let at = body(LINES_MAX - 2);
        let over = format!("\n{}", body(LINES_MAX - 1));
        let tree = Tree::of(&[("at.rs", &at), ("over.rs", &over)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].file.as_str(), found[0].line), ("over.rs", 2));
    }
}
