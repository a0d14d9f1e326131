//! Deeds that must see the host as it is: its mounts, its /tmp, its drivers. The packaged helper is
//! in a sandbox that shows it another one, so it has them done by `nodemedic-remedy@NAME.service`,
//! which is this program once more, and reads there how it went.

use std::path::{Path, PathBuf};

use nodemedic_edge::files;
use nodemedic_protocol::Millis;

use crate::request::Answer;
use crate::systemctl::tool_within;

/// Below the limit of an act, and what the unit itself has.
const LIMIT: Millis = Millis::from_secs(23);

/// An answer is a line for people.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Words of systemctl.
const OUTPUT_MAX_BYTES: usize = 4096;

fn answer_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("remedy-{name}.json"))
}

/// Starts the unit of a remedy, and reads its answer.
///
/// # Errors
/// What the answer says, or that there is none.
pub async fn ask(systemctl: &Path, directory: &Path, name: &str) -> Result<String, String> {
    let path = answer_of(directory, name);
    // An answer of before must not be taken for that of now.
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("cannot remove {}: {error}", path.display()));
    }
    let unit = format!("nodemedic-remedy@{name}.service");
    let words = ["--system", "--no-ask-password", "start", "--", &unit];
    let started = tool_within(LIMIT, systemctl, &words, "", OUTPUT_MAX_BYTES).await;
    let bytes = files::read_capped(&path, ANSWER_MAX_BYTES).map_err(|e| e.to_string())?;
    let Some(bytes) = bytes else {
        let why = started
            .err()
            .unwrap_or_else(|| "it left no answer".to_owned());
        return Err(format!("{unit}: {why}"));
    };
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    answer.into_result()
}

/// Leaves the answer for who started the unit.
///
/// # Errors
/// When it cannot be written.
pub fn leave(path: &Path, answer: &Answer) -> Result<(), String> {
    let bytes = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    files::write_atomic(path, &bytes, 0o600).map_err(|error| error.to_string())
}
