//! The environment file of a templated unit: how a work learns under which grant it runs. The unit
//! names it: `EnvironmentFile=/run/nodemedic/work/%i.env`.

use std::fmt::Write as _;
use std::path::Path;

use nodemedic_agent_core::Act;
use nodemedic_edge::files;
use nodemedic_protocol::{Generation, WorkName};

/// An environment file of ours is a few lines.
const ENVIRONMENT_MAX_BYTES: usize = 64 << 10;

/// The grant in the file: the unit was started with it.
pub async fn generation(path: &Path) -> Option<Generation> {
    let path = path.to_owned();
    let read = move || files::read_capped(&path, ENVIRONMENT_MAX_BYTES);
    let bytes = tokio::task::spawn_blocking(read).await.ok()?.ok()??;
    String::from_utf8_lossy(&bytes)
        .lines()
        .find_map(|line| line.strip_prefix("NODEMEDIC_GENERATION="))
        .and_then(|number| number.trim().parse().ok())
        .map(Generation)
}

/// Hands the grant over. Written before the start, so that no start can miss it.
///
/// # Errors
/// When the disk refuses.
pub async fn write(path: &Path, work: &WorkName, act: &Act) -> Result<(), String> {
    let path = path.to_owned();
    let text = text(work, act);
    let write = move || {
        if let Some(directory) = path.parent() {
            files::ensure_dir(directory, 0o755)?;
        }
        files::write_atomic(&path, text.as_bytes(), 0o644)
    };
    let written = tokio::task::spawn_blocking(write).await;
    written
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

fn text(work: &WorkName, act: &Act) -> String {
    let mut text = String::new();
    // Writing into a text cannot fail.
    for (key, value) in &act.environment {
        let _ = writeln!(text, "{key}={}", quoted(value));
    }
    let _ = writeln!(text, "NODEMEDIC_WORK={work}");
    if let Some(generation) = act.generation {
        let _ = writeln!(text, "NODEMEDIC_GENERATION={generation}");
    }
    text
}

/// systemd.exec(5), EnvironmentFile=: within double quotes these are escaped.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_agent_core::{ActionId, UnitKey};
    use nodemedic_protocol::Millis;
    use nodemedic_protocol::event::Verb;
    use nodemedic_protocol::work::Run;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn what_is_handed_over_can_be_read_again_and_cannot_be_broken_out_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("work/db.env");
        assert_eq!(generation(&path).await, None);
        let work = WorkName::new("db").unwrap();
        let act = Act {
            action: ActionId(1),
            unit: UnitKey::Work(work.clone()),
            verb: Verb::Start,
            run: Run::Systemd {
                unit: "db@.service".into(),
            },
            generation: Some(Generation(7)),
            environment: BTreeMap::from([("A".into(), "x \"y\" $z \\".into())]),
            stop_grace: Millis(1),
            timeout: Millis(1),
        };
        write(&path, &work, &act).await.unwrap();
        assert_eq!(generation(&path).await, Some(Generation(7)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "A=\"x \\\"y\\\" \\$z \\\\\"\nNODEMEDIC_WORK=db\nNODEMEDIC_GENERATION=7\n"
        );
    }
}
