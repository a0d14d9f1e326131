//! What the probes of the unit answer now.

use std::sync::Arc;

use futures_util::future::join_all;
use nodemedic_agent_core::Verdict;
use nodemedic_protocol::work::ProbeSpec;

use super::{Found, Look};
use crate::manager::target::Target;
use crate::probe::{Asker, Whose};

/// Asks each once, all at the same time, with less patience than the configuration has: the bundle
/// does not wait for it. What is only seen over several looks, a silence or a spin, is not seen.
pub async fn read(look: Look) -> Result<Found, String> {
    if look.subject.probes.is_empty() {
        return Ok(Found::from("it has no probe: running is well\n".to_owned()));
    }
    let pid = match &look.subject.target {
        Some(Target::Session { leader, .. }) => Some(*leader),
        _ => None,
    };
    let whose = Whose {
        pid,
        target: look.subject.target.clone(),
        unit_name: look.subject.unit_name.clone(),
        log: look.subject.log.clone(),
        cgroup_root: look.cgroup_root.clone(),
        bus: Arc::clone(&look.bus),
    };
    let asked = look.subject.probes.iter().map(|spec| {
        let mut asker = Asker::new(ProbeSpec {
            timeout: spec.timeout.min(look.within),
            ..spec.clone()
        });
        let whose = &whose;
        async move {
            let said = match asker.ask(whose).await {
                Verdict::Pass => "it works".to_owned(),
                Verdict::Fail(why) => format!("it fails: {why}"),
                Verdict::Unknown(why) => format!("it cannot be asked: {why}"),
            };
            format!("{}: {said}\n", asker.spec().check.word())
        }
    });
    Ok(Found::from(join_all(asked).await.concat()))
}
