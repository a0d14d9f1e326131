//! Each Rust file begins by saying what it is for.

use crate::Violation;
use crate::tree::Tree;

const REMEDY: &str = "begin with `//!`: what this room is for and what it may touch";

/// Shorter than this says nothing: `//! The agent.` would pass, `//! placeholder` must not.
const WORDS_MIN: usize = 3;

/// Finds files without a head.
pub fn check(tree: &Tree) -> Vec<Violation> {
    tree.with_ending("rs")
        .filter_map(|(file, text)| {
            let first = text.lines().next().unwrap_or_default();
            let what = match first.strip_prefix("//! ") {
                None => "does not begin with `//!`",
                Some(head) if head.split_whitespace().count() < WORDS_MIN => {
                    "has a head that says nothing"
                }
                Some(_) => return None,
            };
            Some(Violation {
                file: file.to_owned(),
                line: 1,
                what: what.to_owned(),
                remedy: REMEDY,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_on_no_head_and_on_an_empty_one() {
        let tree = Tree::of(&[
            ("good.rs", "//! What it is for.\n"),
            ("late.rs", "use x;\n//! What it is for.\n"),
            ("none.rs", ""),
            ("poor.rs", "//! placeholder\n"),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["late.rs", "none.rs", "poor.rs"]);
    }
}
