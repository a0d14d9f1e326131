//! Restarts a declared set of units in its order. No verb of the helper: polkit can name units, so
//! the agent asks systemd by itself.

use std::path::Path;

use nodemedic_protocol::Millis;

use crate::systemctl::{tool, tool_within};

/// As long as systemd itself waits for a unit to start, by default.
const LIMIT: Millis = Millis::from_secs(90);

/// A word or two.
const OUTPUT_MAX_BYTES: usize = 4096;

/// One after the other; each is up, by systemd's own word, before the next. What failed often
/// enough that systemd starts it no more is let start again first.
///
/// # Errors
/// The first that does not start; those after it are not touched.
pub async fn restart(systemctl: &Path, units: &[String]) -> Result<String, String> {
    for unit in units {
        // Fails for a unit that is not loaded, and is then not needed.
        let reset = ["--system", "--no-ask-password", "reset-failed", "--", unit];
        let _not_loaded = tool(systemctl, &reset, "", OUTPUT_MAX_BYTES).await;
        let words = ["--system", "--no-ask-password", "restart", "--", unit];
        tool_within(LIMIT, systemctl, &words, "", OUTPUT_MAX_BYTES).await?;
    }
    Ok(format!("restarted {}", units.join(", ")))
}
