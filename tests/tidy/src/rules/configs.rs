//! One `bad-MISTAKE.toml` per mistake, and each is read by a test that says what the user is told.

use crate::Violation;
use crate::tree::{Tree, directory_of, name_of};

const REMEDY: &str = "add the test that shows what the user is told, or delete the file";

/// Finds bad configurations that no Rust code reads.
pub fn check(tree: &Tree) -> Vec<Violation> {
    tree.paths()
        .filter(|path| name_of(path).starts_with("bad-") && path.ends_with(".toml"))
        .filter(|path| !is_named(tree, path) && !is_read_with_its_folder(tree, path))
        .map(|path| Violation {
            file: path.to_owned(),
            line: 0,
            what: "no test reads it".to_owned(),
            remedy: REMEDY,
        })
        .collect()
}

fn is_named(tree: &Tree, path: &str) -> bool {
    let name = name_of(path);
    let quoted = format!("\"{}\"", name.trim_end_matches(".toml"));
    tree.with_ending("rs")
        .any(|(_, text)| text.contains(name) || text.contains(&quoted))
}

/// One test may read all `bad-*` of a folder; then the words expected lie beside each.
fn is_read_with_its_folder(tree: &Tree, path: &str) -> bool {
    let words = path.replace(".toml", ".txt");
    let folder = format!("{}\"", directory_of(path));
    tree.has(&words)
        && tree
            .with_ending("rs")
            .any(|(_, text)| text.contains(&folder) && text.contains("\"bad-\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_on_a_mistake_that_no_test_makes() {
        let tree = Tree::of(&[
            ("tests/fixtures/config/bad-key.toml", ""),
            ("tests/fixtures/config/bad-span.toml", ""),
            ("tests/fixtures/config/bad-url.toml", ""),
            (
                "agent/src/config.rs",
                "case(\"bad-key\"); include_str!(\"bad-url.toml\")",
            ),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["tests/fixtures/config/bad-span.toml"]);
    }

    #[test]
    fn a_folder_read_as_a_whole_needs_the_words_beside_each_mistake() {
        let tree = Tree::of(&[
            ("tests/fixtures/agent/bad-key.toml", ""),
            ("tests/fixtures/agent/bad-key.txt", ""),
            ("tests/fixtures/agent/bad-span.toml", ""),
            (
                "agent/src/config.rs",
                "join(\"../tests/fixtures/agent\"); name.starts_with(\"bad-\")",
            ),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["tests/fixtures/agent/bad-span.toml"]);
    }
}
