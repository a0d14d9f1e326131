//! Every relative link in a Markdown file leads to a file that is there, and to a heading that is
//! in it; every `docs/*.md` that code names is there too.

use crate::Violation;
use crate::tree::{Tree, directory_of};

const REMEDY: &str = "correct the link, or write what it promises";

/// Finds links that lead nowhere.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.with_ending("md") {
        for (line, target) in links(text) {
            if let Some(what) = problem(tree, file, &target) {
                found.push(violation(file, line, what));
            }
        }
    }
    for ending in ["rs", "toml"] {
        for (file, text) in tree.with_ending(ending) {
            if file.starts_with("tests/tidy/") {
                continue; // Its tests name pages that are made up.
            }
            for (line, page) in pages(text) {
                if !tree.has(&page) {
                    found.push(violation(
                        file,
                        line,
                        format!("names {page}, which is not there"),
                    ));
                }
            }
        }
    }
    found
}

fn violation(file: &str, line: usize, what: String) -> Violation {
    Violation {
        file: file.to_owned(),
        line,
        what,
        remedy: REMEDY,
    }
}

/// `(line, target)` of every inline link outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in lines_outside_code(text) {
        let line = without_code_spans(line);
        for (at, _) in line.match_indices("](") {
            if let Some(target) = line[at + 2..].split(')').next() {
                let target = target.split_whitespace().next().unwrap_or_default();
                found.push((number, target.trim_matches(['<', '>']).to_owned()));
            }
        }
    }
    found
}

fn lines_outside_code(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut kept = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            kept.push((number, line));
        }
    }
    kept
}

fn without_code_spans(line: &str) -> String {
    let outside = line.split('`').step_by(2);
    outside.collect::<Vec<&str>>().join("`")
}

/// Why a link leads nowhere; `None` when it is fine or leads out of the repository.
fn problem(tree: &Tree, file: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.to_owned()
    } else {
        match resolved(directory_of(file), path) {
            Some(path) => path,
            None => return Some(format!("link {target} leads out of the repository")),
        }
    };
    if !tree.has(&path) {
        return Some(format!("link {target} leads to {path}, which is not there"));
    }
    let headings = || anchors(tree.text(&path).unwrap_or_default());
    if !anchor.is_empty() && path.ends_with(".md") && !headings().iter().any(|a| a == anchor) {
        return Some(format!("link {target}: {path} has no heading #{anchor}"));
    }
    None
}

fn resolved(directory: &str, path: &str) -> Option<String> {
    let mut levels: Vec<&str> = match path.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => directory.split('/').filter(|l| !l.is_empty()).collect(),
    };
    for level in path.split('/') {
        match level {
            "" | "." => {}
            ".." => {
                levels.pop()?;
            }
            name => levels.push(name),
        }
    }
    Some(levels.join("/"))
}

/// The anchors that GitHub gives the headings of a page.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in lines_outside_code(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(kept)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = found
            .iter()
            .filter(|a| {
                **a == anchor
                    || a.rsplit_once('-')
                        .is_some_and(|(base, n)| base == anchor && n.parse::<u32>().is_ok())
            })
            .count();
        found.push(if again == 0 {
            anchor
        } else {
            format!("{anchor}-{again}")
        });
    }
    found
}

/// `(line, path)` of every page of docs/ that a text names.
fn pages(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (at, _) in line.match_indices("docs/") {
            let before = line[..at].chars().next_back();
            let is_path =
                |c: &char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
            if before.is_some_and(|c| is_path(&c)) {
                continue;
            }
            let path: String = line[at..].chars().take_while(is_path).collect();
            if let Some(end) = path.find(".md") {
                found.push((number, path[..end + 3].to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(tree: &Tree) -> Vec<String> {
        check(tree).into_iter().map(|v| v.what).collect()
    }

    #[test]
    fn it_bites_on_files_and_headings_that_are_not_there() {
        let tree = Tree::of(&[
            (
                "docs/a.md",
                "# One `two`: three\n[ok](b.md#x-y) [ok](../src) [ok](#one-two-three)\n\
                 [bad](c.md)\n[bad](b.md#z) [out](../../x)\n[web](https://x.y/z)\n\
                 ```\n[code](nowhere.md)\n```\n`[span](nowhere.md)`\n",
            ),
            ("docs/b.md", "text\n## X y\n"),
            ("src/main.rs", ""),
        ]);
        assert_eq!(
            whats(&tree),
            [
                "link c.md leads to docs/c.md, which is not there",
                "link b.md#z: docs/b.md has no heading #z",
                "link ../../x leads out of the repository",
            ]
        );
    }

    #[test]
    fn it_bites_on_a_page_that_only_code_knows() {
        let tree = Tree::of(&[
            ("docs/a.md", ""),
            ("src/lib.rs", "//! See docs/a.md and docs/adr/b.md.\n"),
        ]);
        assert_eq!(whats(&tree), ["names docs/adr/b.md, which is not there"]);
    }

    #[test]
    fn headings_that_repeat_are_numbered() {
        assert_eq!(
            anchors("# A\n# A\n#no\n# A b-c_d!\n"),
            ["a", "a-1", "a-b-c_d"]
        );
    }
}
