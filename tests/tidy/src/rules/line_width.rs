//! Lines fit beside each other on one screen. rustfmt leaves comments and strings alone; this does
//! not.

use crate::Violation;
use crate::tree::Tree;

/// rustfmt.toml has the same number.
const COLUMNS_MAX: usize = 100;

const REMEDY: &str = "break the comment, or end a string's line with a backslash";

/// Finds lines that are too wide.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("rs") {
        for (number, line) in (1..).zip(text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                found.push(Violation {
                    file: file.to_owned(),
                    line: number,
                    what: format!("{columns} columns, more than {COLUMNS_MAX}"),
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
    fn it_counts_characters_and_bites_one_above_the_limit() {
        let at = "ä".repeat(COLUMNS_MAX);
        let over = format!("//\n{at}x\n");
        let tree = Tree::of(&[("at.rs", &at), ("over.rs", &over)]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].file.as_str(), found[0].line), ("over.rs", 2));
    }
}
