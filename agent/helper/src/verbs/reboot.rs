//! Asks systemd for a clean reboot, where the configuration has `[remedy.reboot]`. Whether it is
//! the time for one was decided before: by the coordinator's permit, or the host's own policy.

use crate::hands::Hands;
use crate::systemctl::tool;

/// A word or two.
const OUTPUT_MAX_BYTES: usize = 4096;

pub(super) async fn act(hands: &Hands) -> Result<String, String> {
    let words = ["--system", "--no-ask-password", "--no-wall", "reboot"];
    tool(&hands.places.systemctl, &words, "", OUTPUT_MAX_BYTES).await?;
    Ok("systemd was asked for a reboot".to_owned())
}
