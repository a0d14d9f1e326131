//! Clocks are read in one file of the agent side and one of the watchdog, which shares nothing with
//! it. Whoever else needs the time is told `now`.

use crate::Violation;
use crate::rust::{blanked, line_of};
use crate::tree::Tree;

const READS: &[&str] = &["Instant::now", "SystemTime::now", "clock_gettime"];

const READERS: &[&str] = &["edge/src/clock.rs", "watchdog/src/clock.rs"];

/// Who is exempt, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("tests/", "tests of real processes measure real time"),
    ("xtask/", "a developer's stopwatch, no part of the product"),
    ("/tests/", "tests of real processes measure real time"),
    ("/benches/", "a benchmark measures"),
    ("/examples/", "an example that measures cost"),
];

const REMEDY: &str = "take `now` as an argument, or call edge::clock at the edge";

/// Finds clock reads anywhere else.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("rs") {
        if READERS.contains(&file) || is_exempt(file) {
            continue;
        }
        let code = blanked(text);
        for read in READS {
            for (at, _) in code.match_indices(read) {
                found.push(Violation {
                    file: file.to_owned(),
                    line: line_of(&code, at),
                    what: format!("reads a clock with {read}"),
                    remedy: REMEDY,
                });
            }
        }
    }
    found
}

fn is_exempt(file: &str) -> bool {
    EXEMPT.iter().any(|(place, _why)| {
        if place.starts_with('/') {
            file.contains(place)
        } else {
            file.starts_with(place)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_outside_the_clock_files_and_the_exempt_places() {
        let read = "let a = 1;\nlet t = std::time::Instant::now(); // Instant::now\n";
        let tree = Tree::of(&[
            ("agent/src/main.rs", read),
            ("edge/src/clock.rs", read),
            ("tests/system/src/wait.rs", read),
            ("agent/host/tests/x.rs", read),
            ("agent/host/src/contests/x.rs", read),
        ]);
        let found: Vec<String> = check(&tree)
            .into_iter()
            .map(|v| format!("{}:{}", v.file, v.line))
            .collect();
        assert_eq!(
            found,
            ["agent/host/src/contests/x.rs:2", "agent/src/main.rs:2"]
        );
    }
}
