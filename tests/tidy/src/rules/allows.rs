//! No bare `#[allow]`: it outlives its cause in silence. `#[expect]` complains when the cause is
//! gone, and its reason tells the reader why it is there.

use crate::Violation;
use crate::rust::{blanked, line_of};
use crate::tree::Tree;

const REMEDY: &str = "write #[expect(LINT, reason = \"...\")], or mend what the lint found";

/// Finds `allow` attributes, and `expect` ones without a reason.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("rs") {
        let code = blanked(text);
        for (at, _) in code.match_indices("#[").chain(code.match_indices("#![")) {
            let attribute = code[at..].split(']').next().unwrap_or_default();
            let what = if attribute.contains("allow(") {
                "an allow attribute"
            } else if attribute.contains("[expect(") && !attribute.contains("reason") {
                "an expect attribute without a reason"
            } else {
                continue;
            };
            found.push(Violation {
                file: file.to_owned(),
                line: line_of(&code, at),
                what: what.to_owned(),
                remedy: REMEDY,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_on_allow_and_on_expect_without_a_reason() {
        let tree = Tree::of(&[(
            "a.rs",
            "#![allow(dead_code)]\n#[expect(x)]\n#[expect(x, reason = \"y\")]\n// #[allow(z)]\n\
             #[cfg_attr(test, allow(z))]\n",
        )]);
        let mut lines: Vec<usize> = check(&tree).iter().map(|v| v.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [1, 2, 5]);
    }
}
