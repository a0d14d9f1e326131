//! Small rooms: what does not fit into one is two concepts.

use crate::Violation;
use crate::rust::{blanked, test_modules};
use crate::tree::{Tree, directory_of, name_of};

/// About eight screens: what a reader can hold of one concept.
const LINES_MAX: usize = 400;

const REMEDY: &str = "move the second concept into a file of its own";

/// Finds files that are too long; their test modules, and files of tests alone, do not count.
pub fn check(tree: &Tree) -> Vec<Violation> {
    tree.with_ending("rs")
        .filter(|(file, _)| !is_tests_alone(tree, file))
        .filter_map(|(file, text)| {
            let tests: usize = test_modules(&blanked(text))
                .iter()
                .map(|(first, last)| last - first + 1)
                .sum();
            let lines = text.lines().count() - tests;
            (lines > LINES_MAX).then(|| Violation {
                file: file.to_owned(),
                line: LINES_MAX + 1,
                what: format!("{lines} lines without tests, more than {LINES_MAX}"),
                remedy: REMEDY,
            })
        })
        .collect()
}

/// Integration tests: `CRATE/tests/*.rs`; and modules that are declared under `#[cfg(test)]`, with
/// all below them.
fn is_tests_alone(tree: &Tree, file: &str) -> bool {
    if file.contains("/tests/") && !file.contains("/src/") {
        return true;
    }
    let mut module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    while !directory_of(module).is_empty() {
        let folder = directory_of(module);
        let declared = format!("mod {};", name_of(module));
        let parents = [
            format!("{folder}/mod.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}.rs"),
        ];
        let for_tests = |parent: &String| {
            let text = tree.text(parent).unwrap_or_default();
            text.match_indices(&declared)
                .any(|(at, _)| text[..at].trim_end().ends_with("#[cfg(test)]"))
        };
        if parents.iter().any(for_tests) {
            return true;
        }
        module = folder;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_one_line_above_the_limit_and_leaves_tests_out() {
        let code = "//\n".repeat(LINES_MAX);
        let with_tests = format!("{code}#[cfg(test)]\nmod tests {{\n}}\n");
        let over = format!("{code}//\n#[cfg(test)]\nmod tests {{\n}}\n");
        let tree = Tree::of(&[
            ("a/src/at.rs", &with_tests),
            ("a/src/over.rs", &over),
            ("a/tests/story.rs", &over),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["a/src/over.rs"]);
    }

    #[test]
    fn modules_that_only_tests_have_do_not_count() {
        let over = "//\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod stories;\nmod deep;\n"),
            ("a/src/stories/mod.rs", &over),
            ("a/src/stories/fire.rs", &over),
            ("a/src/deep.rs", "#[cfg(test)]\nmod tests;\nmod more;\n"),
            ("a/src/deep/tests.rs", &over),
            ("a/src/deep/more.rs", &over),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["a/src/deep/more.rs"]);
    }
}
