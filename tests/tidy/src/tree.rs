//! The work tree as text: read once from a root, or made up by a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Directories that are not ours: build results and version control.
const NOT_OURS: &[&str] = &["target", ".git", "dist"];

/// Endings of files that the rules read; of others only the name counts.
const TEXT: &[&str] = &["rs", "md", "toml"];

/// Every file by its path from the top, with `/` between the levels.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads a work tree.
    ///
    /// # Errors
    /// When a directory or a file cannot be read, with its path.
    pub fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.read_directory(root, "")?;
        Ok(tree)
    }

    fn read_directory(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(directory)
            .with_context(|| format!("reading the directory {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry
                .file_type()
                .with_context(|| format!("looking at {path}"))?;
            if kind.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    self.read_directory(&entry.path(), &format!("{path}/"))?;
                }
                continue;
            }
            let is_text = TEXT.iter().any(|ending| has_ending(&name, ending));
            let text = if is_text && kind.is_file() {
                fs::read_to_string(entry.path()).with_context(|| format!("reading {path}"))?
            } else {
                String::new()
            };
            self.files.insert(path, text);
        }
        Ok(())
    }

    /// A made-up tree.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Tree {
            files: files.iter().map(own).collect(),
        }
    }

    /// The text of one file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// True for a file, and for a directory that holds one.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let inside = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(inside.clone()..)
                .next()
                .is_some_and(|(found, _)| found.starts_with(&inside))
    }

    /// Paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Paths and texts of the files with this ending.
    pub fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| has_ending(path, ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

fn has_ending(path: &str, ending: &str) -> bool {
    path.strip_suffix(ending)
        .is_some_and(|rest| rest.ends_with('.'))
}

/// The directory that a path lies in, without a slash at its end; empty at the top.
#[must_use]
pub fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The last level of a path.
#[must_use]
pub fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_there_when_a_file_in_it_is() {
        let tree = Tree::of(&[("a/b/c.rs", ""), ("ab.rs", "")]);
        assert!(tree.has("a"));
        assert!(tree.has("a/b/"));
        assert!(tree.has("a/b/c.rs"));
        assert!(!tree.has("a/c"));
        assert!(!tree.has("b"));
    }

    #[test]
    fn an_ending_is_what_follows_the_last_dot() {
        let tree = Tree::of(&[("a.rs", ""), ("ars", ""), ("b.rs.orig", "")]);
        let found: Vec<&str> = tree.with_ending("rs").map(|(path, _)| path).collect();
        assert_eq!(found, ["a.rs"]);
    }
}
