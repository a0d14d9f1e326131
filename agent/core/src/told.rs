//! What the host did beside the ladders and what a person pretends: both become events, and a
//! pretended condition stands until it is taken back.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{Component, Severity};

use crate::agent::Agent;
use crate::conditions::Finding;
use crate::input::Input;
use crate::out::Out;

/// Begins the reason of every pretended condition: no rule and no plugin of ours uses it.
const REASON: &str = "injected fault";

fn reason(id: u64) -> Reason {
    Reason::Other(format!("{REASON} {id}"))
}

impl Agent {
    /// What needs no decision: an event as it is, or a pretence.
    pub(crate) fn take_told(&mut self, out: &mut Out, told: Input) {
        match told {
            Input::Noted { component, kind } => out.event(component, kind),
            Input::Pretended {
                id,
                component,
                condition,
            } => self.pretend(out, id, &component, condition),
            _ => {}
        }
    }

    /// A condition that nobody measured begins or ends.
    fn pretend(
        &mut self,
        out: &mut Out,
        id: u64,
        component: &Component,
        condition: Option<(Severity, String)>,
    ) {
        let Some((severity, message)) = condition else {
            let because = "what was injected was taken back";
            self.book.clear(out, component, &reason(id), because);
            return;
        };
        let finding = Finding {
            severity,
            message,
            evidence: BTreeMap::from([("injected_fault".to_string(), id.to_string())]),
        };
        self.book.raise(out, component, &reason(id), finding);
    }

    /// What an earlier run pretended is over with that run.
    pub(crate) fn end_pretence(&mut self, out: &mut Out) {
        for component in self.book.components(|_| true) {
            for found in self.book.reasons_of(&component) {
                if matches!(&found, Reason::Other(text) if text.starts_with(REASON)) {
                    let because = "the agent began again";
                    self.book.clear(out, &component, &found, because);
                }
            }
        }
    }
}
