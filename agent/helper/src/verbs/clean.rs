//! Removes old files of the directories that a remedy declares; a dry run says which.

use nodemedic_edge::clock;
use nodemedic_protocol::Millis;

use super::blocking;
use crate::deeds::Clean;
use crate::sweep::{Swept, sweep};

/// Below the limit of an act, so that what was done is said.
const LIMIT: Millis = Millis::from_secs(20);

pub(super) async fn act(clean: &Clean, dry_run: bool) -> Result<String, String> {
    let clean = clean.clone();
    blocking(move || {
        let until = clock::boottime() + LIMIT;
        let mut swept = Swept::default();
        let mut wrong = Vec::new();
        for directory in &clean.directories {
            let done = sweep(directory, &clean, dry_run, until, &mut swept);
            wrong.extend(done.err());
        }
        wrong.extend(swept.why.clone());
        let would = if dry_run { "would remove" } else { "removed" };
        let mut text = format!("{would} {} files, {} bytes", swept.files, swept.bytes);
        if !swept.names.is_empty() {
            text.push_str(&format!(": {}", swept.names.join(", ")));
        }
        if wrong.is_empty() {
            return Ok(text);
        }
        Err(format!("{text}; {}", wrong.join("; ")))
    })
    .await
}
