//! The last lines that the unit wrote: from the journal, or from the log file of a command.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};

use nodemedic_edge::child::{self, Spec};
use nodemedic_protocol::work::Run;

use super::{Found, Look, SECTION_MAX_BYTES};

/// Lines asked of the journal: a crash with its stack trace, and what came before.
const LINES: &str = "--lines=200";

/// Reads them.
pub async fn read(look: Look) -> Result<Found, String> {
    match (&look.subject.run, &look.subject.unit_name) {
        (Run::Systemd { .. }, Some(unit)) => of_journal(unit, &look).await,
        (Run::Systemd { unit }, None) => Err(format!("{unit} has no whole name")),
        (Run::Command { .. }, _) => look.blocking(of_file).await,
    }
}

async fn of_journal(unit: &str, look: &Look) -> Result<Found, String> {
    let args = [
        "--no-pager",
        "--quiet",
        "--boot",
        "--output=short-precise",
        LINES,
    ];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.push(format!("--unit={unit}"));
    let finished = child::run(Spec {
        program: "journalctl".into(),
        args,
        env: BTreeMap::new(),
        cwd: None,
        stdin: Vec::new(),
        timeout: look.within,
        output_max_bytes: 4 * SECTION_MAX_BYTES,
    });
    let finished = finished.await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
    match (finished.code, said.is_empty()) {
        (Some(0), true) => Ok(Found::from(text)),
        // It hints at what this user may not see.
        (Some(0), false) => Ok(Found {
            text,
            missing: Some(said),
        }),
        _ => Err(format!("journalctl: {said}")),
    }
}

fn of_file(look: &Look) -> Result<Found, String> {
    let path = &look.subject.log;
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Found::from("it has written nothing\n".to_owned()));
        }
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    let max = u64::try_from(SECTION_MAX_BYTES).unwrap_or(u64::MAX);
    let from = length.saturating_sub(max);
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let missing = (from > 0).then(|| format!("only the last {max} of {length} bytes"));
    Ok(Found { text, missing })
}
