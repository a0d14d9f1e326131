//! Keeps units as they should be: services of the host and works of the fleet on one ladder
//! (restart with back-off, then fence).
//!
//! [`ladder`] is the state machine of one unit with its parts in [`settle`], [`rung`], [`fence`],
//! [`goal`] and [`recall`]; [`manners`] says whose turn it is, [`ledger`] numbers and records every
//! action; this file is the table of units and the way in.

pub(crate) mod backoff;
mod fence;
mod goal;
pub(crate) mod ladder;
pub(crate) mod ledger;
mod manners;
mod pauses;
mod probed;
mod probes;
mod recall;
mod retry;
mod rung;
pub(crate) mod settle;
pub(crate) mod stage;
mod tell;
mod window;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::event::{HookRecord, Outcome};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{BootId, Boottime, Millis, Now};

use crate::budget::Budget;
use crate::conditions::Book;
use crate::effect::{ActionId, Effect};
use crate::input::{Seen, Verdict};
use crate::memory::{Ailing, Intent, Memory};
use crate::mutation::Mutations;
use crate::out::Out;
use crate::unit::UnitKey;

pub(crate) use ladder::Unit;
pub(crate) use ledger::{Begun, Ledger};
pub(crate) use manners::{Manners, Order, PACKAGE_WAIT_MAX, Packages};
pub(crate) use pauses::Pauses;
pub(crate) use recall::Recalled;
pub(crate) use stage::{Goal, Hold, Permit, Plan, Stage, Wish};

/// What the ladders share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub budget: Budget,
    pub ledger: Ledger,
    pub rng: Rng,
    pub mutation: Mutations,
}

/// What a ladder may touch during one step.
pub(crate) struct Ctx<'a> {
    pub out: &'a mut Out,
    pub book: &'a mut Book,
    pub tools: &'a mut Tools,
}

impl Ctx<'_> {
    pub(crate) const fn now(&self) -> Now {
        self.out.now
    }
}

/// All units that are looked after.
#[derive(Debug)]
pub(crate) struct Supervisor {
    units: BTreeMap<UnitKey, Unit>,
    tools: Tools,
    manners: Manners,
    /// What an earlier run knew of units that are not looked after yet.
    recalled: BTreeMap<UnitKey, (Option<Ailing>, Option<Intent>)>,
}

/// How an action ended, as the host says it.
pub(crate) struct Ended {
    pub action: ActionId,
    pub outcome: Outcome,
    pub command: String,
    pub took: Millis,
    pub hooks: Vec<HookRecord>,
    pub seen: Seen,
}

impl Supervisor {
    /// Nothing is looked after yet.
    pub(crate) fn new(tools: Tools, manners: Manners, boot_id: &BootId, memory: &Memory) -> Self {
        let mut recalled: BTreeMap<UnitKey, (Option<Ailing>, Option<Intent>)> = BTreeMap::new();
        if memory.boot_id.as_ref() == Some(boot_id) {
            for ailing in &memory.ailing {
                recalled.entry(ailing.unit.clone()).or_default().0 = Some(ailing.clone());
            }
            for intent in memory.intents.iter().filter(|i| i.verb.starts()) {
                let told = Intent {
                    told: true,
                    ..intent.clone()
                };
                recalled.entry(intent.unit.clone()).or_default().1 = Some(told);
            }
        }
        Supervisor {
            units: BTreeMap::new(),
            tools,
            manners,
            recalled,
        }
    }

    pub(crate) const fn manners(&self) -> &Manners {
        &self.manners
    }

    pub(crate) const fn manners_mut(&mut self) -> &mut Manners {
        &mut self.manners
    }

    /// Fills its part of what must be remembered.
    pub(crate) fn remember(&self, memory: &mut Memory) {
        self.tools.ledger.remember(memory);
        let of_units = self.units.values().filter_map(Unit::ailing);
        let waiting = self.recalled.values();
        let of_recalled = waiting.clone().filter_map(|(ailing, _)| ailing.clone());
        memory.ailing = of_units.chain(of_recalled).collect();
        let cut = self.units.values().filter_map(Unit::cut);
        let of_recalled = waiting.filter_map(|(_, intent)| intent.as_ref());
        memory.intents.extend(cut.chain(of_recalled).cloned());
        memory.pauses = self.manners.pauses.memory();
    }

    pub(crate) const fn tools(&self) -> &Tools {
        &self.tools
    }

    pub(crate) const fn tools_mut(&mut self) -> &mut Tools {
        &mut self.tools
    }

    pub(crate) fn get(&self, key: &UnitKey) -> Option<&Unit> {
        self.units.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UnitKey, &Unit)> {
        self.units.iter()
    }

    /// Begins to look after a unit, or takes its changed plan.
    pub(crate) fn watch(&mut self, out: &mut Out, key: UnitKey, plan: Plan) {
        let Some(unit) = self.units.get_mut(&key) else {
            out.host.push(Effect::Watch(plan.watch(&key)));
            let generation = plan.generation;
            let mut unit = Unit::new(key.clone(), plan, out.now.boot);
            let (ailing, cut) = self.recalled.remove(&key).unwrap_or_default();
            let ailing = ailing.filter(|ailing| ailing.generation == generation);
            let tried = match &key {
                UnitKey::Service(name) => self.tools.ledger.fenced(name).is_some_and(|f| f.trying),
                UnitKey::Work(_) => false,
            };
            unit.recall(ailing, cut, tried);
            self.units.insert(key, unit);
            return;
        };
        if unit.plan().watch(&key) == plan.watch(&key) {
            unit.replan_manners(out.now, plan, &self.tools.ledger);
        } else {
            out.host.push(Effect::Watch(plan.watch(&key)));
            unit.replan(out.now.boot, plan);
        }
    }

    /// Begins to look after a unit that is proved stopped, so that a stray run is seen.
    pub(crate) fn watch_stopped(&mut self, out: &mut Out, key: UnitKey, plan: Plan, goal: Goal) {
        out.host.push(Effect::Watch(plan.watch(&key)));
        let unit = Unit::new(key.clone(), plan, out.now.boot).settled(goal);
        self.units.insert(key, unit);
    }

    /// Says why a unit stands as it does, for people.
    pub(crate) fn explain(&mut self, key: &UnitKey, detail: &str) {
        if let Some(unit) = self.units.get_mut(key) {
            unit.explain(String::from(detail));
        }
    }

    /// Looks after a unit no longer; what runs of it keeps running.
    pub(crate) fn unwatch(&mut self, out: &mut Out, book: &mut Book, key: &UnitKey, because: &str) {
        self.recalled.remove(key);
        self.manners.forget(key);
        if self.units.remove(key).is_some() {
            out.host.push(Effect::Unwatch { unit: key.clone() });
        }
        book.clear_component(out, &key.component(), because);
    }

    fn with<R>(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        key: &UnitKey,
        step: impl FnOnce(&mut Unit, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let unit = self.units.get_mut(key)?;
        let mut ctx = Ctx {
            out,
            book,
            tools: &mut self.tools,
        };
        Some(step(unit, &mut ctx))
    }

    pub(crate) fn observed(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        key: &UnitKey,
        (seen, started): (Seen, Option<Boottime>),
    ) {
        self.with(out, book, key, |unit, ctx| {
            unit.observed(ctx, seen, started);
        });
    }

    pub(crate) fn probed(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        key: &UnitKey,
        (probe, verdict): (usize, Verdict),
    ) {
        self.with(out, book, key, |unit, ctx| unit.probed(ctx, probe, verdict));
    }

    pub(crate) fn ended(&mut self, out: &mut Out, book: &mut Book, ended: Ended) {
        let Some(intent) = self.tools.ledger.close(out, &ended) else {
            return;
        };
        self.with(out, book, &intent.unit, |unit, ctx| unit.ended(ctx, ended));
    }

    pub(crate) fn not_begun(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        action: ActionId,
        why: &str,
    ) {
        if let Some(intent) = self.tools.ledger.strike(action) {
            let unit = intent.unit.clone();
            self.with(out, book, &unit, |unit, ctx| {
                unit.not_begun(ctx, intent, why)
            });
        }
    }

    /// Sets what a unit is to do, and whether it may start now.
    pub(crate) fn aim(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        key: &UnitKey,
        goal: Goal,
        permit: Permit,
    ) {
        self.with(out, book, key, |unit, ctx| unit.aim(ctx, goal, permit));
    }

    pub(crate) fn unfence(&mut self, out: &mut Out, book: &mut Book, key: &UnitKey) {
        self.with(out, book, key, Unit::unfence);
    }

    /// Does everything whose time has come.
    pub(crate) fn tick(&mut self, out: &mut Out, book: &mut Book) {
        for unit in self.units.values_mut() {
            let mut ctx = Ctx {
                out,
                book,
                tools: &mut self.tools,
            };
            unit.tick(&mut ctx);
        }
    }

    /// The next moment at which a unit waits for something.
    pub(crate) fn next_wake(&self) -> Option<(Boottime, UnitKey)> {
        self.units
            .iter()
            .filter_map(|(key, unit)| unit.wake().map(|at| (at, key.clone())))
            .min()
    }
}
