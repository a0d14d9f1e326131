//! Configuration files: one main file and a directory of more, merged, with errors that say file,
//! line, column, key, and the nearest valid key.
//!
//! The first layer of three (raw text, validated value, live object): it fills a raw type with
//! `#[serde(deny_unknown_fields)]`. What that type cannot know (a port in use by two services, say)
//! is checked by its owner, who reports it with [`complain`], so that such an error too names its
//! place.

mod explain;
pub mod size;
mod sources;
pub mod span;
pub mod span_opt;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use sources::Sources;

/// Exit status of a program whose configuration is wrong (EX_CONFIG of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// What is wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file or the directory.
    pub file: PathBuf,
    /// Line and column in characters, both from 1; `None` when the whole file is meant.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Reads `main`, then every `*.toml` in `more` in the order of their names, merged: tables join,
/// the same key twice is an error that names both places. A `more` that does not exist is empty;
/// a `main` that does not exist is an error.
pub fn load<T: DeserializeOwned>(main: &Path, more: Option<&Path>) -> Result<T, ConfigError> {
    let sources = Sources::read(main, more)?;
    let merged = sources.merged()?;
    T::deserialize(toml::de::Deserializer::from(merged.clone()))
        .map_err(|error| explain::rejected(&sources, merged.get_ref(), &error))
}

/// An error of validation about the value at `key` (for example `["service", "web", "probe"]`),
/// with the place that sets it, or else the nearest table around it, or else the main file.
#[must_use]
pub fn complain(main: &Path, more: Option<&Path>, key: &[&str], message: &str) -> ConfigError {
    let message = match key {
        [] => message.to_owned(),
        _ => format!("{}: {message}", explain::dotted(key)),
    };
    let found = Sources::read(main, more).ok().and_then(|sources| {
        let offset = sources::find(sources.merged().ok()?.get_ref(), key)?;
        Some(sources.error_at(Some(offset), message.clone()))
    });
    found.unwrap_or(ConfigError {
        file: main.to_owned(),
        place: None,
        message,
    })
}

/// The files that a complaint is about.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    main: &'a Path,
    more: Option<&'a Path>,
}

impl<'a> Place<'a> {
    /// What [`load`] read.
    #[must_use]
    pub fn new(main: &'a Path, more: Option<&'a Path>) -> Place<'a> {
        Place { main, more }
    }

    /// [`complain`] about the value at `key`.
    #[must_use]
    pub fn error(&self, key: &[&str], message: impl AsRef<str>) -> ConfigError {
        complain(self.main, self.more, key, message.as_ref())
    }

    /// Relative paths start at the directory of the main file, wherever the program was started.
    #[must_use]
    pub fn path(&self, path: PathBuf) -> PathBuf {
        match self.main.parent() {
            Some(parent) if path.is_relative() => parent.join(path),
            _ => path,
        }
    }
}
