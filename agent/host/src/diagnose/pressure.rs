//! Load, memory and pressure of the whole host, as the kernel words them.

use std::fmt::Write as _;
use std::path::Path;

use super::processes::word;
use super::{Found, Look};
use crate::manager::process::PROC;

/// What is read below /proc.
const FILES: [&str; 5] = [
    "loadavg",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
    "meminfo",
];

/// Reads it.
pub fn read(_look: &Look) -> Result<Found, String> {
    let mut text = String::new();
    let mut missing = Vec::new();
    for file in FILES {
        match word(Path::new(PROC), file) {
            // Writing to a String cannot fail.
            Some(value) => drop(writeln!(
                text,
                "{file}\n    {}",
                value.replace('\n', "\n    ")
            )),
            None => missing.push(file),
        }
    }
    let missing = (!missing.is_empty()).then(|| format!("not there: {}", missing.join(", ")));
    Ok(Found { text, missing })
}
