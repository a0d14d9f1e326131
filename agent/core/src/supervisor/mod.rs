//! Keeps units as they should be: services of the host and works of the fleet on one ladder
//! (restart with back-off, then fence).
//!
//! [`ladder`] is the state machine of one unit, [`ledger`] numbers and records every action, this
//! file is the table of units and the way in.

pub(crate) mod backoff;
pub(crate) mod ladder;
pub(crate) mod ledger;
mod retry;
pub(crate) mod settle;
pub(crate) mod stage;
mod tell;

use alloc::collections::BTreeMap;
use alloc::string::String;

use nodemedic_protocol::event::Outcome;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{Boottime, Millis, Now};

use crate::budget::Budget;
use crate::conditions::Book;
use crate::effect::{ActionId, Effect};
use crate::input::{Seen, Verdict};
use crate::out::Out;
use crate::unit::UnitKey;

pub(crate) use ladder::Unit;
pub(crate) use ledger::Ledger;
pub(crate) use stage::{Goal, Permit, Plan, Stage};

/// What the ladders share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub budget: Budget,
    pub ledger: Ledger,
    pub rng: Rng,
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
}

/// How an action ended, as the host says it.
pub(crate) struct Ended {
    pub action: ActionId,
    pub outcome: Outcome,
    pub command: String,
    pub took: Millis,
    pub seen: Seen,
}

impl Supervisor {
    pub(crate) const fn new(tools: Tools) -> Supervisor {
        Supervisor {
            units: BTreeMap::new(),
            tools,
        }
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
        out.host.push(Effect::Watch(plan.watch(&key)));
        match self.units.get_mut(&key) {
            Some(unit) => unit.replan(out.now.boot, plan),
            None => {
                let unit = Unit::new(key.clone(), plan, out.now.boot);
                self.units.insert(key, unit);
            }
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

    pub(crate) fn observed(&mut self, out: &mut Out, book: &mut Book, key: &UnitKey, seen: Seen) {
        self.with(out, book, key, |unit, ctx| unit.observed(ctx, seen));
    }

    pub(crate) fn probed(&mut self, out: &mut Out, book: &mut Book, key: &UnitKey, v: Verdict) {
        self.with(out, book, key, |unit, ctx| unit.probed(ctx, v));
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
