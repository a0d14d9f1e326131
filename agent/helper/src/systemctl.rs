//! The three things that are asked of systemd, by its own program: no shell, a deadline, a cap.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_edge::child::{self, Spec};
use nodemedic_protocol::Millis;

/// A large host reloads in a second or two; one whose systemd hangs must not hold us.
const LIMIT: Millis = Millis::from_secs(10);

/// Of each stream; a property is a word.
const OUTPUT_MAX_BYTES: usize = 4096;

/// Runs a program of the host's to its end; gives what it said.
///
/// # Errors
/// When it does not start, takes too long, or fails: with what it said.
pub async fn tool(
    program: &Path,
    words: &[&str],
    input: &str,
    cap: usize,
) -> Result<String, String> {
    tool_within(LIMIT, program, words, input, cap).await
}

/// The same with a limit of its own.
///
/// # Errors
/// As [`tool`].
pub async fn tool_within(
    limit: Millis,
    program: &Path,
    words: &[&str],
    input: &str,
    cap: usize,
) -> Result<String, String> {
    let ended = child::run(Spec {
        program: program.to_owned(),
        args: words.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        cwd: None,
        stdin: input.as_bytes().to_vec(),
        timeout: limit,
        output_max_bytes: cap,
    })
    .await
    .map_err(|error| error.to_string())?;
    if ended.code == Some(0) && !ended.truncated {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let how = match (ended.code, ended.signal) {
        (Some(0), _) => "said more than can be read".to_owned(),
        (Some(code), _) => format!("failed with status {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    let name = program.display();
    Err(format!("{name} {} {how}: {}", words.join(" "), said.trim()))
}

/// Makes systemd read its unit files again, and run its generators.
///
/// # Errors
/// When it does not.
pub async fn reload(program: &Path) -> Result<(), String> {
    let words = ["--system", "--no-ask-password", "daemon-reload"];
    tool(program, &words, "", OUTPUT_MAX_BYTES).await.map(drop)
}

/// One property of a unit: a word.
///
/// # Errors
/// When systemd does not say.
pub async fn property(program: &Path, unit: &str, name: &str) -> Result<String, String> {
    let words = [
        "--system",
        "show",
        "--property",
        name,
        "--value",
        "--",
        unit,
    ];
    let said = tool(program, &words, "", OUTPUT_MAX_BYTES).await?;
    Ok(said.trim().to_owned())
}
