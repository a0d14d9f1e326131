//! Cores and protocol decide and describe; they cannot even name a file, a socket or a clock,
//! because `no_std` leaves those out, and they cannot get around it by `unsafe`.

use crate::Violation;
use crate::rust::{blanked, line_of, test_modules};
use crate::tree::{Tree, directory_of};

const PURE: &[&str] = &[
    "protocol/src/lib.rs",
    "agent/core/src/lib.rs",
    "coordinator/core/src/lib.rs",
];

const DEMANDS: &[(&str, &str)] = &[
    (
        "#![no_std]",
        "add #![no_std]; what needs std belongs to an edge crate",
    ),
    (
        "#![forbid(unsafe_code)]",
        "add #![forbid(unsafe_code)]; what needs unsafe belongs to an edge crate",
    ),
];

const NO_STD: &str = "use core or alloc; what needs std belongs to an edge crate";

/// Finds what is missing from the heads, and every use of std outside tests.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for head in PURE {
        let violation = |what: String, remedy| Violation {
            file: (*head).to_owned(),
            line: 0,
            what,
            remedy,
        };
        let Some(text) = tree.text(head) else {
            let what = "is not there, but it is listed as pure".to_owned();
            found.push(violation(
                what,
                "correct the list in tests/tidy/src/rules/purity.rs",
            ));
            continue;
        };
        let code = blanked(text);
        for (demand, remedy) in DEMANDS {
            if !code.contains(demand) {
                found.push(violation(format!("has no {demand}"), remedy));
            }
        }
        found.extend(uses_of_std(tree, directory_of(head)));
    }
    found
}

fn uses_of_std(tree: &Tree, directory: &str) -> Vec<Violation> {
    let inside = format!("{directory}/");
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("rs") {
        if !file.starts_with(&inside) {
            continue;
        }
        let code = blanked(text);
        let tests = test_modules(&code);
        for word in ["std::", "extern crate std"] {
            for (at, _) in code.match_indices(word) {
                let line = line_of(&code, at);
                let in_tests = tests.iter().any(|(a, b)| (*a..=*b).contains(&line));
                let for_tests = code[..at].trim_end().ends_with("#[cfg(test)]");
                let longer = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if !in_tests && !for_tests && !longer {
                    found.push(Violation {
                        file: file.to_owned(),
                        line,
                        what: "names std in a pure crate".to_owned(),
                        remedy: NO_STD,
                    });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#![no_std]\n#![forbid(unsafe_code)]\n";

    #[test]
    fn it_bites_on_a_head_that_lets_std_or_unsafe_in() {
        let tree = Tree::of(&[
            ("protocol/src/lib.rs", "#![no_std]\n"),
            ("agent/core/src/lib.rs", HEAD),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.what).collect();
        assert_eq!(
            found,
            [
                "has no #![forbid(unsafe_code)]",
                "is not there, but it is listed as pure"
            ]
        );
    }

    #[test]
    fn it_bites_on_std_outside_tests() {
        let tree = Tree::of(&[
            ("protocol/src/lib.rs", HEAD),
            ("agent/core/src/lib.rs", HEAD),
            ("coordinator/core/src/lib.rs", HEAD),
            (
                "agent/core/src/lease.rs",
                "use std::fs;\n#[cfg(test)]\nextern crate std;\n\
                 #[cfg(test)]\nmod tests {\n use std::vec;\n}\n",
            ),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].file.as_str(), found[0].line),
            ("agent/core/src/lease.rs", 1)
        );
    }
}
