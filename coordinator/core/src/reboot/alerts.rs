//! What deserves an alert about a reboot: the host that does not come back.

use alloc::format;

use nodemedic_protocol::{Now, Severity};

use super::Stage;
use crate::alert_rules::{Verdict, Verdicts};
use crate::alerts::Firing;
use crate::coordinator::Coordinator;
use crate::node::Node;

impl Coordinator {
    pub(crate) fn judge_reboot(&self, now: Now, node: &Node, verdicts: &mut Verdicts) {
        let Some(reboot) = &node.record.reboot else {
            return;
        };
        let Stage::Permitted(permit) = &reboot.stage else {
            return;
        };
        if now.boot < self.overdue_at(permit) {
            return;
        }
        let name = node.name();
        let firing = Firing {
            severity: Severity::Critical,
            node: Some(name.clone()),
            work: None,
            summary: format!("{name} was permitted to reboot and is not back"),
            detail: format!(
                "Why it was to be rebooted: {}. No other boot of it has been heard within {}. Look \
                 at its console. It takes no work and keeps its place in the budget until it is \
                 back and well; when it is gone for good: nodemedic forget {name}.",
                reboot.why, self.settings.reboot.back_within
            ),
        };
        let key = format!("node/{name}/reboot-overdue");
        verdicts.insert(key, Verdict::Fires(firing));
    }
}
