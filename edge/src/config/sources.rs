//! The files that make up one configuration, as one merged table in which every value still knows
//! its place.
//!
//! The trick: the files are thought of as one long text. A position in it names file, line and
//! column, so any error that the deserialiser reports about the merged table can be located.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::ConfigError;
use super::explain::dotted;
use crate::files;

/// The largest configuration file: a thousand services with comments fit several times over.
const FILE_MAX_BYTES: usize = 1024 * 1024;

/// The most files in the directory: one per service of a large host.
const FILES_MAX: usize = 1000;

/// One file, and where its text starts in the long text of all.
struct Source {
    path: PathBuf,
    text: String,
    start: usize,
}

/// All files in their order.
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Reads them, without parsing.
    pub(super) fn read(main: &Path, more: Option<&Path>) -> Result<Sources, ConfigError> {
        let mut paths = vec![main.to_owned()];
        if let Some(more) = more {
            paths.extend(fragments(more)?);
        }
        let mut start = 0;
        let mut sources = Vec::new();
        for path in paths {
            let text = read_text(&path)?;
            let length = text.len();
            sources.push(Source { path, text, start });
            // One apart, so that the end of one file is not the start of the next.
            start += length + 1;
        }
        Ok(Sources(sources))
    }

    /// Every file parsed and merged into one table.
    pub(super) fn merged(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        let mut merged = DeTable::new();
        for source in &self.0 {
            let parsed = DeTable::parse(&source.text).map_err(|error| {
                let offset = error.span().map(|span| span.start + source.start);
                let place = offset.unwrap_or(source.start);
                self.error_at(Some(place), format!("not valid TOML: {}", error.message()))
            })?;
            let moved = shift_table(parsed.into_inner(), source.start);
            merge(&mut merged, moved, &mut Vec::new()).map_err(|clash| {
                let first = self.error_at(Some(clash.first), String::new());
                let (line, column) = first.place.unwrap_or((1, 1));
                self.error_at(
                    Some(clash.second),
                    format!(
                        "{} is set already at {}:{line}:{column}; keep one of the two",
                        clash.key,
                        first.file.display()
                    ),
                )
            })?;
        }
        Ok(Spanned::new(0..0, merged))
    }

    /// An error at a position in the long text.
    pub(super) fn error_at(&self, offset: Option<usize>, message: String) -> ConfigError {
        let owner = offset.and_then(|offset| {
            let source = self.0.iter().rev().find(|source| source.start <= offset)?;
            Some((source, offset - source.start))
        });
        match (owner, self.0.first()) {
            (Some((source, offset)), _) => ConfigError {
                file: source.path.clone(),
                place: Some(line_column(&source.text, offset)),
                message,
            },
            (None, first) => ConfigError {
                file: first.map(|source| source.path.clone()).unwrap_or_default(),
                place: None,
                message,
            },
        }
    }
}

/// Where the value at `key` is set: the place of the deepest part of the path that exists. A place
/// in a list is its number, from 1.
pub(super) fn find(table: &DeTable<'_>, key: &[&str]) -> Option<usize> {
    let (first, rest) = key.split_first()?;
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    let deeper = match value.get_ref() {
        DeValue::Table(table) => find(table, rest),
        DeValue::Array(list) => find_in_list(list, rest),
        _ => None,
    };
    Some(deeper.unwrap_or(name.span().start))
}

fn find_in_list(list: &DeArray<'_>, key: &[&str]) -> Option<usize> {
    let (first, rest) = key.split_first()?;
    let item = list.get(first.parse::<usize>().ok()?.checked_sub(1)?)?;
    let deeper = item
        .get_ref()
        .as_table()
        .and_then(|table| find(table, rest));
    Some(deeper.unwrap_or(item.span().start))
}

/// The path of keys to the value, or the key, at a position.
pub(super) fn path_at(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
    table.iter().find_map(|(name, value)| {
        let below = if name.span().contains(&offset) {
            Some(Vec::new())
        } else {
            path_inside(value.get_ref(), offset)
                .or_else(|| value.span().contains(&offset).then(Vec::new))
        };
        Some(
            std::iter::once(name.get_ref().to_string())
                .chain(below?)
                .collect(),
        )
    })
}

fn path_inside(value: &DeValue<'_>, offset: usize) -> Option<Vec<String>> {
    match value {
        DeValue::Table(table) => path_at(table, offset),
        DeValue::Array(array) => {
            let mut tables = array.iter().filter_map(|item| item.get_ref().as_table());
            tables.find_map(|table| path_at(table, offset))
        }
        _ => None,
    }
}

/// The same key in two places.
struct Clash {
    key: String,
    first: usize,
    second: usize,
}

/// Joins `from` into `into`, table by table.
fn merge<'i>(
    into: &mut DeTable<'i>,
    from: DeTable<'i>,
    path: &mut Vec<String>,
) -> Result<(), Clash> {
    for (name, value) in from {
        let first = into
            .get_key_value(&name)
            .map(|(known, _)| known.span().start);
        let Some(first) = first else {
            into.insert(name, value);
            continue;
        };
        path.push(name.get_ref().to_string());
        match (
            into.get_mut(&name).map(Spanned::get_mut),
            value.into_inner(),
        ) {
            (Some(DeValue::Table(into)), DeValue::Table(from)) => merge(into, from, path)?,
            _ => {
                return Err(Clash {
                    key: dotted(path),
                    first,
                    second: name.span().start,
                });
            }
        }
        path.pop();
    }
    Ok(())
}

/// Moves every position in the table from its own file into the long text.
fn shift_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |span: std::ops::Range<usize>| span.start + by..span.end + by;
    table
        .into_iter()
        .map(|(name, value)| {
            let name = Spanned::new(moved(name.span()), name.into_inner());
            (name, shift_value(value, by))
        })
        .collect()
}

fn shift_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span().start + by..value.span().end + by;
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, by)),
        DeValue::Array(mut array) => {
            for item in array.iter_mut() {
                let place = item.span();
                let value = std::mem::replace(item.get_mut(), DeValue::Boolean(false));
                *item = shift_value(Spanned::new(place, value), by);
            }
            DeValue::Array(array)
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

/// The `*.toml` of a directory, sorted by name; hidden ones are editors' left-overs.
fn fragments(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |error: std::io::Error| ConfigError {
        file: dir.to_owned(),
        place: None,
        message: format!("cannot list this directory: {error}; check its permissions"),
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".toml") && !text.starts_with('.') {
            paths.push(dir.join(&name));
        }
        if paths.len() > FILES_MAX {
            return Err(ConfigError {
                file: dir.to_owned(),
                place: None,
                message: format!("more than {FILES_MAX} files; join some of them"),
            });
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let whole = |message: String| ConfigError {
        file: path.to_owned(),
        place: None,
        message,
    };
    let bytes = files::read_capped(path, FILE_MAX_BYTES)
        .map_err(|error| whole(format!("cannot read it: {}; {}", error.cause, error.remedy)))?
        .ok_or_else(|| whole("there is no such file; create it or name another".to_owned()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        ConfigError {
            file: path.to_owned(),
            place: Some(line_column(&text, valid)),
            message: "not valid TOML: this character is not UTF-8".to_owned(),
        }
    })
}

/// Line and column in characters, from 1, of a byte position.
fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}
