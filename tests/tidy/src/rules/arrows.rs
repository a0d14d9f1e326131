//! Which crate may depend on which is a table in docs/ARCHITECTURE.md, between the marks
//! `<!-- arrows -->` and `<!-- /arrows -->`: crate, ours that it depends on, ours for its tests,
//! crates from outside (`any`, or the exact list). The Cargo.toml files must say the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;
use crate::tree::Tree;

const PAGE: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- arrows -->";
const END: &str = "<!-- /arrows -->";

const UNDECLARED: &str =
    "drop the dependency, or add it to the table in docs/ARCHITECTURE.md with a reason in an ADR";
const STALE: &str = "remove it from the table in docs/ARCHITECTURE.md";
const NO_TABLE: &str = "write the table that tests/tidy/src/rules/arrows.rs describes";
const NO_MANIFEST: &str = "correct the members of the workspace";

/// What one crate may depend on, or does.
#[derive(Debug, Default)]
struct Arrows {
    ours: BTreeSet<String>,
    for_tests: BTreeSet<String>,
    /// `None` when any may be used.
    outside: Option<BTreeSet<String>>,
    line: usize,
    file: String,
}

/// Finds arrows that the table does not allow, and rows that no Cargo.toml needs.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let page = tree.text(PAGE).unwrap_or_default();
    let table = table(page);
    if table.is_empty() {
        return vec![Violation {
            file: PAGE.to_owned(),
            line: 0,
            what: format!("has no table between {BEGIN} and {END}"),
            remedy: NO_TABLE,
        }];
    }
    let (real, mut found) = manifests(tree);
    for (name, arrows) in &real {
        match table.get(name) {
            Some(row) => found.extend(compare(name, row, arrows, tree)),
            None => found.push(Violation {
                file: arrows.file.clone(),
                line: 0,
                what: format!("crate {name} has no row in the table"),
                remedy: UNDECLARED,
            }),
        }
    }
    for (name, row) in &table {
        if !real.contains_key(name) {
            found.push(stale(row, format!("crate {name} is not in the workspace")));
        }
    }
    found
}

fn stale(row: &Arrows, what: String) -> Violation {
    Violation {
        file: PAGE.to_owned(),
        line: row.line,
        what,
        remedy: STALE,
    }
}

fn compare(name: &str, row: &Arrows, real: &Arrows, tree: &Tree) -> Vec<Violation> {
    let manifest = tree.text(&real.file).unwrap_or_default();
    let undeclared = |dependency: &str, how: &str| Violation {
        file: real.file.clone(),
        line: line_naming(manifest, dependency),
        what: format!("{name} depends on {dependency}{how}, which the table does not allow"),
        remedy: UNDECLARED,
    };
    let mut found = Vec::new();
    for (have, allowed, how) in [
        (&real.ours, &row.ours, ""),
        (&real.for_tests, &row.for_tests, " in its tests"),
    ] {
        found.extend(have.difference(allowed).map(|d| undeclared(d, how)));
        let unused = allowed.difference(have);
        found.extend(
            unused.map(|d| stale(row, format!("{name} does not depend on {d}{how} any more"))),
        );
    }
    if let (Some(allowed), Some(have)) = (&row.outside, &real.outside) {
        found.extend(have.difference(allowed).map(|d| undeclared(d, "")));
        let unused = allowed.difference(have);
        found.extend(unused.map(|d| stale(row, format!("{name} does not depend on {d} any more"))));
    }
    found
}

fn line_naming(manifest: &str, dependency: &str) -> usize {
    let begins = |line: &str| {
        line.strip_prefix(dependency)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    (1..)
        .zip(manifest.lines())
        .find(|(_, line)| begins(line))
        .map_or(0, |(number, _)| number)
}

fn table(page: &str) -> BTreeMap<String, Arrows> {
    let mut rows = BTreeMap::new();
    let lines = (1..)
        .zip(page.lines())
        .skip_while(|(_, line)| line.trim() != BEGIN)
        .take_while(|(_, line)| line.trim() != END);
    for (number, line) in lines {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
        let [name, ours, for_tests, outside] = cells[..] else {
            continue;
        };
        let Some(name) = names(name).into_iter().next() else {
            continue; // The table's head and its rule name no crate.
        };
        let arrows = Arrows {
            ours: names(ours),
            for_tests: names(for_tests),
            outside: (outside.trim() != "any").then(|| names(outside)),
            line: number,
            file: PAGE.to_owned(),
        };
        rows.insert(name, arrows);
    }
    rows
}

/// What stands between backticks.
fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// Every member of the workspace with what it really depends on.
fn manifests(tree: &Tree) -> (BTreeMap<String, Arrows>, Vec<Violation>) {
    let mut real = BTreeMap::new();
    let mut found = Vec::new();
    let mut parsed = Vec::new();
    for member in members(tree) {
        let file = format!("{member}/Cargo.toml");
        let manifest = tree.text(&file).and_then(|t| t.parse::<toml::Table>().ok());
        let name = manifest
            .as_ref()
            .and_then(|m| m.get("package")?.get("name")?.as_str());
        match name {
            Some(name) => parsed.push((name.to_owned(), file, manifest.unwrap_or_default())),
            None => found.push(Violation {
                file,
                line: 0,
                what: "is a member of the workspace but no readable package".to_owned(),
                remedy: NO_MANIFEST,
            }),
        }
    }
    let ours: BTreeSet<String> = parsed.iter().map(|(name, _, _)| name.clone()).collect();
    for (name, file, manifest) in parsed {
        real.insert(name, arrows_of(&manifest, &ours, file));
    }
    (real, found)
}

fn members(tree: &Tree) -> Vec<String> {
    let root = tree.text("Cargo.toml").unwrap_or_default();
    let Ok(root) = root.parse::<toml::Table>() else {
        return Vec::new();
    };
    let members = root.get("workspace").and_then(|w| w.get("members"));
    let members = members.and_then(toml::Value::as_array);
    members
        .into_iter()
        .flatten()
        .filter_map(|m| m.as_str().map(str::to_owned))
        .collect()
}

fn arrows_of(manifest: &toml::Table, ours: &BTreeSet<String>, file: String) -> Arrows {
    let mut all = keys(manifest, "dependencies");
    all.extend(keys(manifest, "build-dependencies"));
    let mut for_tests = keys(manifest, "dev-dependencies");
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    for target in targets.into_iter().flat_map(toml::Table::values) {
        if let Some(target) = target.as_table() {
            all.extend(keys(target, "dependencies"));
            for_tests.extend(keys(target, "dev-dependencies"));
        }
    }
    Arrows {
        ours: all.intersection(ours).cloned().collect(),
        for_tests: for_tests.intersection(ours).cloned().collect(),
        outside: Some(all.difference(ours).cloned().collect()),
        line: 0,
        file,
    }
}

fn keys(table: &toml::Table, section: &str) -> BTreeSet<String> {
    let section = table.get(section).and_then(toml::Value::as_table);
    section
        .into_iter()
        .flat_map(toml::Table::keys)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\"core\", \"app\"]\n";
    const CORE: &str = "[package]\nname = \"core\"\n[dependencies]\nserde.workspace = true\n";
    const APP: &str =
        "[package]\nname = \"app\"\n[dependencies]\ncore.workspace = true\nx = \"1\"\n";

    fn whats(table: &str, core: &str) -> Vec<String> {
        let page = format!(
            "{BEGIN}\n| crate | ours | tests | outside |\n|---|---|---|---|\n{table}\n{END}\n"
        );
        let tree = Tree::of(&[
            ("Cargo.toml", ROOT),
            ("core/Cargo.toml", core),
            ("app/Cargo.toml", APP),
            (PAGE, &page),
        ]);
        check(&tree)
            .into_iter()
            .map(|v| format!("{}:{} {}", v.file, v.line, v.what))
            .collect()
    }

    #[test]
    fn the_true_table_passes() {
        let table = "| `core` | | | `serde` |\n| `app` | `core` | | any |";
        assert_eq!(whats(table, CORE), [""; 0]);
    }

    #[test]
    fn it_bites_on_an_undeclared_arrow_inside_and_outside() {
        let core = format!("{CORE}tokio = \"1\"\n[dev-dependencies]\napp.workspace = true\n");
        let table = "| `core` | | | `serde` |\n| `app` | | | any |";
        assert_eq!(
            whats(table, &core),
            [
                "app/Cargo.toml:4 app depends on core, which the table does not allow",
                "core/Cargo.toml:7 core depends on app in its tests, \
                 which the table does not allow",
                "core/Cargo.toml:5 core depends on tokio, which the table does not allow",
            ]
        );
    }

    #[test]
    fn it_bites_on_a_stale_row() {
        let table = "| `core` | `app` | | `serde`, `libc` |\n| `app` | `core` | | any |\n\
                     | `gone` | | | any |";
        assert_eq!(
            whats(table, CORE),
            [
                "docs/ARCHITECTURE.md:4 core does not depend on app any more",
                "docs/ARCHITECTURE.md:4 core does not depend on libc any more",
                "docs/ARCHITECTURE.md:6 crate gone is not in the workspace",
            ]
        );
    }

    #[test]
    fn it_bites_on_a_crate_without_a_row_and_on_no_table() {
        assert_eq!(
            whats("| `core` | | | `serde` |", CORE),
            ["app/Cargo.toml:0 crate app has no row in the table"]
        );
        assert_eq!(check(&Tree::of(&[("Cargo.toml", ROOT)])).len(), 1);
    }
}
