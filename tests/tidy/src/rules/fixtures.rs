//! Every fixture is used: named by Rust code, or explained in a README beside the fixtures. What
//! nobody names proves nothing and cannot be thrown away either.

use crate::Violation;
use crate::tree::{Tree, directory_of, name_of};

const ROOT: &str = "tests/fixtures";

const REMEDY: &str = "name it in a test or in a README row, or delete it";

/// Finds fixtures that nobody names.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let inside = format!("{ROOT}/");
    tree.paths()
        .filter(|path| path.starts_with(&inside) && name_of(path) != "README.md")
        .filter(|path| !is_named(tree, path))
        .map(|path| Violation {
            file: path.to_owned(),
            line: 0,
            what: "is named nowhere".to_owned(),
            remedy: REMEDY,
        })
        .collect()
}

/// By its own name, or as part of a directory that is used as a whole: a recorded /proc tree is one
/// fixture of many files.
fn is_named(tree: &Tree, path: &str) -> bool {
    let mut names = vec![name_of(path).to_owned()];
    let mut directory = directory_of(path);
    while directory.len() > ROOT.len() {
        let relative = &directory[ROOT.len() + 1..];
        for before in ["\"", "fixtures/"] {
            names.push(format!("{before}{relative}\""));
            names.push(format!("{before}{relative}/\""));
        }
        directory = directory_of(directory);
    }
    let in_code = tree
        .with_ending("rs")
        .any(|(_, text)| names.iter().any(|name| text.contains(name)));
    in_code
        || tree
            .with_ending("md")
            .filter(|(file, _)| file.starts_with(ROOT) && name_of(file) == "README.md")
            .any(|(file, text)| readme_names(file, text, path))
}

/// A README speaks of what lies beside and below it.
fn readme_names(readme: &str, text: &str, path: &str) -> bool {
    let here = format!("{}/", directory_of(readme));
    path.strip_prefix(&here).is_some_and(|below| {
        let first = below.split('/').next().unwrap_or(below);
        text.contains(&format!("`{first}`")) || text.contains(&format!("`{first}/`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_on_a_fixture_that_nobody_names() {
        let tree = Tree::of(&[
            (
                "a/src/lib.rs",
                "read(\"messages/birth.json\"); root(\"proc-roots/debian\");",
            ),
            (
                "tests/fixtures/README.md",
                "| `kmsg` | recorded kernel messages |",
            ),
            ("tests/fixtures/messages/birth.json", ""),
            ("tests/fixtures/messages/death.json", ""),
            ("tests/fixtures/proc-roots/debian/proc/stat", ""),
            ("tests/fixtures/kmsg/oom.txt", ""),
            ("tests/fixtures/lost.txt", ""),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|v| v.file).collect();
        assert_eq!(
            found,
            [
                "tests/fixtures/lost.txt",
                "tests/fixtures/messages/death.json"
            ]
        );
    }
}
