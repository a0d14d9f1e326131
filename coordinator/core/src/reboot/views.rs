//! Reboots as people see them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::Now;
use nodemedic_protocol::api::{RebootStage, RebootView};
use nodemedic_protocol::reboot::RebootWord;

use super::Stage;
use crate::coordinator::Coordinator;
use crate::node::Node;

impl Coordinator {
    pub(crate) fn reboot_view(&self, now: Now, node: &Node) -> Option<RebootView> {
        let Some(reboot) = &node.record.reboot else {
            return own_reboot(now, node);
        };
        let mut waiting: Vec<String> = Vec::new();
        let stage = match &reboot.stage {
            Stage::Waits => {
                let full = self.usage().room_for(node.name(), &self.settings.budget);
                if let Err(full) = full {
                    waiting.extend(full.reasons.iter().map(ToString::to_string));
                }
                RebootStage::Waits
            }
            Stage::Emptying => {
                waiting = self.why_not_permitted(now, node);
                RebootStage::Emptying
            }
            Stage::Permitted(_) => RebootStage::Permitted,
            Stage::Returning => {
                waiting.push(alloc::format!("must be well for {}", reboot.stay_out));
                RebootStage::Returning
            }
        };
        let held = matches!(reboot.stage, Stage::Waits | Stage::Emptying);
        waiting.extend(
            self.brake_obstacle()
                .filter(|_| held)
                .map(|b| b.to_string()),
        );
        Some(RebootView {
            stage,
            why: reboot.why.clone(),
            since: reboot.since,
            waiting,
        })
    }
}

/// It rebooted by its own policy, and says so.
fn own_reboot(now: Now, node: &Node) -> Option<RebootView> {
    let Some(RebootWord::StaysOut { why, well_for }) = &node.words.reboot else {
        return None;
    };
    Some(RebootView {
        stage: RebootStage::Returning,
        why: why.clone(),
        since: now.wall,
        waiting: Vec::from([alloc::format!("must be well for {well_for}")]),
    })
}
