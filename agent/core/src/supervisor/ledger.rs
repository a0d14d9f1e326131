//! Every action has a number, is remembered before it is done, and leaves a record when it is over.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::{ActionRecord, BudgetUse, EventKind, Outcome, Verb};
use nodemedic_protocol::{BootId, Generation, Millis, ServiceName};

use super::Ended;
use crate::effect::{ActionId, LogLevel};
use crate::memory::{Fenced, Intent, Memory, Started};
use crate::out::Out;
use crate::unit::UnitKey;

/// What was begun, started and fenced here.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    boot_id: BootId,
    last: ActionId,
    open: BTreeMap<ActionId, (Intent, Option<BudgetUse>)>,
    started: BTreeSet<Started>,
    fenced: BTreeMap<ServiceName, Fenced>,
}

impl Ledger {
    /// The ledger of an earlier run. What was begun then and not recorded is recorded now: nobody
    /// knows how it ended.
    pub(crate) fn restored(out: &mut Out, boot_id: BootId, memory: &Memory) -> Ledger {
        let same_boot = memory.boot_id.as_ref() == Some(&boot_id);
        for intent in &memory.intents {
            let took = if intent.boot_id == boot_id {
                out.now.boot.since(intent.at.boot)
            } else {
                Millis::ZERO
            };
            out.event(
                intent.unit.component(),
                EventKind::Action(ActionRecord {
                    verb: intent.verb,
                    cause: intent.cause.clone(),
                    command: "not recorded".to_string(),
                    outcome: Outcome::Interrupted,
                    took,
                    budget: None,
                }),
            );
        }
        Ledger {
            boot_id,
            last: memory.last_action,
            open: BTreeMap::new(),
            started: if same_boot {
                memory.started.iter().cloned().collect()
            } else {
                BTreeSet::new()
            },
            fenced: memory
                .fenced
                .iter()
                .map(|f| (f.service.clone(), f.clone()))
                .collect(),
        }
    }

    /// Numbers and notes an action that is about to begin.
    pub(crate) fn open(
        &mut self,
        out: &Out,
        unit: &UnitKey,
        verb: Verb,
        cause: String,
        budget: Option<BudgetUse>,
    ) -> ActionId {
        self.last = ActionId(self.last.0.saturating_add(1));
        let intent = Intent {
            action: self.last,
            unit: unit.clone(),
            verb,
            cause,
            boot_id: self.boot_id.clone(),
            at: out.now,
        };
        self.open.insert(self.last, (intent, budget));
        self.last
    }

    /// Records the end of an action. `None` for one that is not open, such as one that was given
    /// up before: what is told late was recorded already.
    pub(crate) fn close(&mut self, out: &mut Out, ended: &Ended) -> Option<Intent> {
        let Some((intent, budget)) = self.open.remove(&ended.action) else {
            out.log(
                LogLevel::Debug,
                alloc::format!("the end of action {} came late", ended.action),
            );
            return None;
        };
        out.event(
            intent.unit.component(),
            EventKind::Action(ActionRecord {
                verb: intent.verb,
                cause: intent.cause.clone(),
                command: ended.command.clone(),
                outcome: ended.outcome.clone(),
                took: ended.took,
                budget,
            }),
        );
        Some(intent)
    }

    /// Forgets an action that was not begun: nothing was done, so there is nothing to record.
    pub(crate) fn strike(&mut self, action: ActionId) -> Option<Intent> {
        self.open.remove(&action).map(|(intent, _)| intent)
    }

    /// True when the next start of this is a restart.
    pub(crate) fn was_started(&self, unit: &UnitKey, generation: Option<Generation>) -> bool {
        self.started.contains(&Started {
            unit: unit.clone(),
            generation,
        })
    }

    pub(crate) fn note_started(&mut self, unit: &UnitKey, generation: Option<Generation>) {
        self.started.insert(Started {
            unit: unit.clone(),
            generation,
        });
    }

    /// A start that was none.
    pub(crate) fn forget_start(&mut self, unit: &UnitKey, generation: Option<Generation>) {
        self.started.remove(&Started {
            unit: unit.clone(),
            generation,
        });
    }

    /// Forgets the starts of a unit: it left, or a person gave it a fresh beginning.
    pub(crate) fn forget_starts(&mut self, unit: &UnitKey) {
        self.started.retain(|s| s.unit != *unit);
    }

    pub(crate) fn fenced(&self, service: &ServiceName) -> Option<&Fenced> {
        self.fenced.get(service)
    }

    pub(crate) fn all_fenced(&self) -> Vec<Fenced> {
        self.fenced.values().cloned().collect()
    }

    pub(crate) fn set_fenced(&mut self, service: &ServiceName, cause: &str, proved: bool) {
        self.fenced.insert(
            service.clone(),
            Fenced {
                service: service.clone(),
                cause: cause.to_string(),
                proved,
            },
        );
    }

    pub(crate) fn unset_fenced(&mut self, service: &ServiceName) {
        self.fenced.remove(service);
    }

    /// Fills its part of what must be remembered.
    pub(crate) fn remember(&self, memory: &mut Memory) {
        memory.last_action = self.last;
        memory.intents = self.open.values().map(|(i, _)| i.clone()).collect();
        memory.started = self.started.iter().cloned().collect();
        memory.fenced = self.all_fenced();
    }
}
