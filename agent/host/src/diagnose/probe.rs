//! What the probe of the unit answers now.

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::work::ProbeSpec;

use super::{Found, Look};
use crate::manager::target::Target;
use crate::probe;

/// Asks once, with less patience than the configuration has: the bundle does not wait for it.
pub async fn read(look: Look) -> Result<Found, String> {
    let Some(spec) = &look.subject.probe else {
        return Ok(Found::from("it has no probe: running is well\n".to_owned()));
    };
    let spec = ProbeSpec {
        timeout: spec.timeout.min(look.within),
        ..spec.clone()
    };
    let pid = match &look.subject.target {
        Some(Target::Session { leader, .. }) => Some(*leader),
        _ => None,
    };
    let answer = match probe::ask(&spec, pid).await {
        Verdict::Pass => "it works".to_owned(),
        Verdict::Fail(why) => format!("it fails: {why}"),
        Verdict::Unknown(why) => format!("it cannot be asked: {why}"),
    };
    Ok(Found::from(format!("{answer}\n")))
}
