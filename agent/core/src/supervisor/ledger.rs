//! Every action has a number, is remembered before it is done, and leaves a record when it is over.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::{ActionRecord, BudgetUse, EventKind, Outcome, Verb};
use nodemedic_protocol::{BootId, Boottime, Generation, Millis, Now, ServiceName};

use super::Ended;
use crate::effect::{ActionId, LogLevel};
use crate::memory::{Fenced, Intent, Memory, Started, Tried};
use crate::out::Out;
use crate::unit::UnitKey;

/// An action that is about to begin.
pub(crate) struct Begun {
    pub unit: UnitKey,
    pub verb: Verb,
    pub cause: String,
    pub command: String,
    pub evidence: BTreeMap<String, String>,
    pub budget: Option<BudgetUse>,
}

/// What was begun, started and fenced here.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    boot_id: BootId,
    last: ActionId,
    open: BTreeMap<ActionId, (Intent, Option<BudgetUse>)>,
    started: BTreeSet<Started>,
    fenced: BTreeMap<ServiceName, Fenced>,
    /// How often each was tried again by itself.
    tried: BTreeMap<ServiceName, u32>,
}

impl Ledger {
    /// The ledger of an earlier run. What was begun then and not recorded is recorded now: nobody
    /// knows how it ended.
    pub(crate) fn restored(out: &mut Out, boot_id: BootId, memory: &Memory) -> Ledger {
        let same_boot = memory.boot_id.as_ref() == Some(&boot_id);
        for intent in memory.intents.iter().filter(|intent| !intent.told) {
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
                    command: intent.command.clone(),
                    outcome: Outcome::Interrupted,
                    took,
                    budget: None,
                    evidence: intent.evidence.clone(),
                    hooks: Vec::new(),
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
            tried: memory
                .tried
                .iter()
                .map(|t| (t.service.clone(), t.times))
                .collect(),
        }
    }

    /// Numbers and notes an action that is about to begin.
    pub(crate) fn open(&mut self, out: &Out, begun: Begun) -> ActionId {
        self.last = ActionId(self.last.0.saturating_add(1));
        let intent = Intent {
            action: self.last,
            unit: begun.unit,
            verb: begun.verb,
            cause: begun.cause,
            boot_id: self.boot_id.clone(),
            at: out.now,
            command: begun.command,
            evidence: begun.evidence,
            told: false,
        };
        self.open.insert(self.last, (intent, begun.budget));
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
                evidence: intent.evidence.clone(),
                hooks: ended.hooks.clone(),
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

    /// Fenced from now on, or still, and now proved so.
    pub(crate) fn set_fenced(
        &mut self,
        now: Now,
        service: &ServiceName,
        cause: &str,
        proved: bool,
    ) {
        let still = self.fenced.get(service).filter(|known| !known.trying);
        let since = still.and_then(|known| known.since.clone());
        let fenced = Fenced {
            service: service.clone(),
            cause: cause.to_string(),
            proved,
            since: Some(since.unwrap_or_else(|| (self.boot_id.clone(), now.boot))),
            trying: false,
        };
        self.fenced.insert(service.clone(), fenced);
    }

    /// Since when it is fenced, at the earliest, on this boot's clock.
    pub(crate) fn fenced_since(&self, now: Now, service: &ServiceName) -> Option<Boottime> {
        let known = self.fenced.get(service)?;
        Some(match &known.since {
            Some((boot_id, at)) if *boot_id == self.boot_id => *at,
            Some(_) => Boottime(0),
            None => now.boot,
        })
    }

    /// Its own try could not be made.
    pub(crate) fn put_off(&mut self, now: Now, service: &ServiceName) {
        if let Some(fenced) = self.fenced.get_mut(service) {
            fenced.since = Some((self.boot_id.clone(), now.boot));
        }
    }

    /// It is tried again by itself.
    pub(crate) fn note_try(&mut self, service: &ServiceName) {
        if let Some(fenced) = self.fenced.get_mut(service) {
            fenced.trying = true;
            let times = self.tried.entry(service.clone()).or_insert(0);
            *times = times.saturating_add(1);
        }
    }

    pub(crate) fn tries(&self, service: &ServiceName) -> u32 {
        self.tried.get(service).copied().unwrap_or(0)
    }

    pub(crate) fn forget_tries(&mut self, service: &ServiceName) {
        self.tried.remove(service);
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
        memory.tried = self
            .tried
            .iter()
            .map(|(service, times)| Tried {
                service: service.clone(),
                times: *times,
            })
            .collect();
    }
}
