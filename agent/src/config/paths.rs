//! Where things are: whole paths, each with its place on a packaged host.

use std::path::PathBuf;

use super::Mistake;
use super::raw::RawPaths;

/// All of them.
pub(super) struct Paths {
    pub state: PathBuf,
    pub run: PathBuf,
    pub watchdog: PathBuf,
    pub fenced: PathBuf,
    pub last_words: PathBuf,
}

pub(super) fn paths(raw: RawPaths) -> Result<Paths, Mistake> {
    // The helper's own place, so that its generator finds what an agent that is root fenced.
    let fenced = match &raw.state {
        Some(state) => state.join("helper"),
        None => nodemedic_helper::STATE.into(),
    };
    let watchdog = match (raw.watchdog, &raw.run) {
        (Some(watchdog), _) => watchdog,
        (None, Some(run)) => run.join("watchdog.sock"),
        (None, None) => "/run/nodemedic-watchdog/watchdog.sock".into(),
    };
    let or = |path: Option<PathBuf>, packaged: &str| path.unwrap_or_else(|| packaged.into());
    let paths = Paths {
        state: or(raw.state, "/var/lib/nodemedic"),
        run: or(raw.run, "/run/nodemedic"),
        last_words: or(raw.last_words, "/var/lib/nodemedic-watchdog/last-words"),
        watchdog,
        fenced,
    };
    for (key, path) in [
        ("last_words", &paths.last_words),
        ("state", &paths.state),
        ("run", &paths.run),
        ("watchdog", &paths.watchdog),
    ] {
        if !path.is_absolute() {
            let message = format!("{path:?} is relative: write the whole path");
            return Err(Mistake::at(&["paths", key], message));
        }
    }
    Ok(paths)
}
