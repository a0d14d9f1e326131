//! Is the configuration valid by the agent's own word, and can only the right people change it?

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::place::program;
use super::{Place, Row, Said, ask, fine, gather, missing, warning};

/// EX_CONFIG of sysexits.h: what the agent ends with when it refuses a configuration.
const REFUSED: i32 = 78;

const CHECK: &str = "valid";

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let path = place.config_path.display().to_string();
    let said = match program("nodemedic-agent") {
        Some(agent) => {
            let agent = agent.display().to_string();
            ask(&agent, &["--config", &path, "--check"]).await
        }
        None => Err("nodemedic-agent is not installed".to_owned()),
    };
    let mut rows = vec![valid(&path, &said)];
    let modes = gather(place, |place| {
        let wanted = place.wanted();
        let key = wanted.broker.and_then(|broker| broker.key);
        (mode(&place.config_path), key.map(|key| (mode(&key), key)))
    });
    let Some((config, key)) = modes.await else {
        return rows;
    };
    rows.extend(config.map(|(mode, uid)| writers(&path, mode, uid)));
    if let Some((Some((mode, _)), key)) = key {
        rows.push(secret(&key, mode));
    }
    rows
}

/// Mode and owner.
fn mode(path: &Path) -> Option<(u32, u32)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.permissions().mode() & 0o777, meta.uid()))
}

fn valid(path: &str, said: &Result<Said, String>) -> Row {
    let costs = "the agent does not start, or goes on with the old configuration";
    match said {
        Ok(Said { code: Some(0), .. }) => fine(CHECK, format!("{path}, by the agent's own check")),
        Ok(said) if said.code == Some(REFUSED) => {
            let lines: Vec<&str> = said.err.lines().collect();
            missing(
                CHECK,
                lines.join(" "),
                costs,
                "correct it; then systemctl reload nodemedic-agent",
            )
        }
        Ok(said) => warning(
            CHECK,
            format!("the agent's check ended with {:?}: {}", said.code, said.err),
            "nobody knows whether it is valid",
            "nodemedic-agent --check",
        ),
        Err(why) => warning(
            CHECK,
            why.as_str(),
            "nobody knows whether it is valid",
            "install nodemedic-agent",
        ),
    }
}

fn writers(path: &str, mode: u32, uid: u32) -> Row {
    if mode & 0o022 == 0 && uid == 0 {
        return fine("writers", "only root may change it");
    }
    warning(
        "writers",
        format!("mode {mode:03o}, owner {uid}"),
        "whoever may change it decides what the agent runs and kills",
        format!("chown root {path}; chmod go-w {path}"),
    )
}

fn secret(key: &Path, mode: u32) -> Row {
    if mode & 0o007 == 0 {
        return fine("key", format!("{} is closed to others", key.display()));
    }
    warning(
        "key",
        format!(
            "{} has mode {mode:03o}: everybody may read it",
            key.display()
        ),
        "every user of this host can speak to the coordinator in its name",
        format!("chmod o= {}", key.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn what_the_agent_refuses_is_missing_with_its_words() {
        let said = |code, err: &str| {
            Ok(Said {
                code: Some(code),
                out: String::new(),
                err: err.to_owned(),
            })
        };
        assert_eq!(valid("a", &said(0, "")).state, State::Ok);
        let row = valid("a", &said(78, "a:1:1: unknown key \"nod\""));
        assert_eq!(row.state, State::Missing);
        assert!(row.seen.contains("unknown key"), "{row:?}");
        assert_eq!(valid("a", &said(1, "boom")).state, State::Warning);
    }

    #[test]
    fn files_that_others_may_read_or_write_are_named() {
        assert_eq!(writers("a", 0o644, 0).state, State::Ok);
        assert_eq!(writers("a", 0o664, 0).state, State::Warning);
        assert_eq!(writers("a", 0o644, 1000).state, State::Warning);
        assert_eq!(secret(Path::new("k"), 0o640).state, State::Ok);
        assert_eq!(secret(Path::new("k"), 0o644).state, State::Warning);
    }
}
