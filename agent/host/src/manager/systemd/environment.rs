//! The environment file of a templated unit: how a work learns under which grant it runs. The unit
//! names it: `EnvironmentFile=/run/nodemedic/work/%i.env`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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
        .filter_map(|line| line.strip_prefix("NODEMEDIC_GENERATION="))
        // systemd takes the last one too.
        .next_back()
        .and_then(|number| number.trim().trim_matches('"').parse().ok())
        .map(Generation)
}

/// The grant alone, for a storage that reads it from a file.
fn generation_path(path: &Path) -> PathBuf {
    path.with_extension("generation")
}

/// Hands the grant over: `WORK.env` for the unit, `WORK.generation` with the bare number. Both are
/// replaced whole, before the start, so that no start can miss them and no reader sees half.
///
/// # Errors
/// When the disk refuses.
pub async fn write(path: &Path, work: &WorkName, act: &Act) -> Result<(), String> {
    let path = path.to_owned();
    let number = generation_path(&path);
    let text = text(work, act, &number);
    let generation = act.generation;
    let write = move || {
        if let Some(directory) = path.parent() {
            files::ensure_dir(directory, 0o755)?;
        }
        if let Some(generation) = generation {
            files::write_atomic(&number, format!("{generation}\n").as_bytes(), 0o644)?;
        }
        files::write_atomic(&path, text.as_bytes(), 0o644)
    };
    let written = tokio::task::spawn_blocking(write).await;
    written
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

fn text(work: &WorkName, act: &Act, number: &Path) -> String {
    let mut text = String::new();
    // Writing into a text cannot fail.
    let own = ["NODEMEDIC_WORK", "NODEMEDIC_GENERATION"];
    let others = |key: &&String| !own.contains(&key.as_str());
    for (key, value) in act.environment.iter().filter(|(key, _)| others(key)) {
        let _ = writeln!(text, "{key}={}", quoted(value));
    }
    let _ = writeln!(text, "NODEMEDIC_WORK={work}");
    if let Some(generation) = act.generation {
        let _ = writeln!(text, "NODEMEDIC_GENERATION={generation}");
        let number = quoted(&number.to_string_lossy());
        let _ = writeln!(text, "NODEMEDIC_GENERATION_FILE={number}");
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
            // As the core hands it over: with what this file says by itself.
            environment: BTreeMap::from([
                ("A".into(), "x \"y\" $z \\".into()),
                ("NODEMEDIC_GENERATION".into(), "7".into()),
                ("NODEMEDIC_WORK".into(), "db".into()),
            ]),
            stop_grace: Millis(1),
            timeout: Millis(1),
            begin_by: None,
            gate: None,
            hooks: None,
        };
        write(&path, &work, &act).await.unwrap();
        assert_eq!(generation(&path).await, Some(Generation(7)));
        let text = std::fs::read_to_string(&path).unwrap();
        let number = dir.path().join("work/db.generation");
        let wanted = format!(
            "A=\"x \\\"y\\\" \\$z \\\\\"\nNODEMEDIC_WORK=db\nNODEMEDIC_GENERATION=7\n\
             NODEMEDIC_GENERATION_FILE=\"{}\"\n",
            number.display()
        );
        assert_eq!(text, wanted);
        assert_eq!(std::fs::read_to_string(number).unwrap(), "7\n");
    }
}
