//! Whose turn it is: what is to be done to a unit waits here for what comes first, in the order in
//! which it fell due, so that many failures at once neither stampede nor starve.
//!
//! Asked at every turn, for every unit that waits. Nothing here waits for ever but what a person
//! decided: a mode, an own stop, a fence that only a person undoes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::work::Run;
use nodemedic_protocol::{Boottime, Millis};

use super::{Hold, Pauses, Stage, Supervisor, Unit};
use crate::conditions::Book;
use crate::config::Healing;
use crate::describe::full_name;
use crate::out::Out;
use crate::unit::UnitKey;

/// A package manager that is at work for longer than this hangs, or waits for somebody who has gone
/// home.
pub(crate) const PACKAGE_WAIT_MAX: Millis = Millis::from_secs(3600);

/// What comes first may come late; a database reads its log for minutes. Then the unit is tried,
/// and its service manager has the last word.
const ORDER_WAIT_MAX: Millis = Millis::from_secs(300);

/// What holds healing back, beside the plans of the units.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub settings: Healing,
    pub pauses: Pauses,
    /// Packages are being installed or removed, as it was seen last.
    pub packages: Option<Packages>,
    orders: BTreeMap<UnitKey, Order>,
}

/// A run of the package manager.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packages {
    pub since: Boottime,
    /// When it was looked at last.
    pub seen: Boottime,
}

/// Between which units of systemd one stands, by their full names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub after: Vec<String>,
    pub requires: Vec<String>,
}

impl Manners {
    pub(crate) const fn new(settings: Healing, pauses: Pauses) -> Manners {
        Manners {
            settings,
            pauses,
            packages: None,
            orders: BTreeMap::new(),
        }
    }

    pub(crate) fn set_order(&mut self, unit: UnitKey, order: Order) {
        self.orders.insert(unit, order);
    }

    pub(crate) fn forget(&mut self, unit: &UnitKey) {
        self.orders.remove(unit);
    }

    /// Until when healing waits for the package manager; `None` when it does not.
    pub(crate) fn packages_until(&self, now: Boottime) -> Option<Boottime> {
        let until = self.packages?.since + PACKAGE_WAIT_MAX;
        (self.settings.respect_package_manager && now < until).then_some(until)
    }
}

/// Who is being acted on now.
struct Crowd {
    under_way: u32,
    groups: BTreeMap<String, UnitKey>,
    /// By the full name of the unit of systemd; empty when nobody asks.
    names: BTreeMap<String, UnitKey>,
}

impl Crowd {
    fn count(&mut self, key: &UnitKey, unit: &Unit) {
        if matches!(unit.stage, Stage::Acting { .. }) {
            self.under_way = self.under_way.saturating_add(1);
        }
        if matches!(unit.stage, Stage::Acting { .. } | Stage::Starting { .. })
            && let Some(group) = &unit.plan.group
        {
            self.groups.insert(group.clone(), key.clone());
        }
    }
}

/// How a unit stands, for those that come after it.
#[derive(PartialEq, Eq)]
enum Standing {
    Up,
    Coming,
    /// Nobody brings it back by himself but a person.
    Out,
}

fn standing(stage: &Stage) -> Standing {
    match stage {
        // What cannot be seen is not known to be down.
        Stage::Running { .. } | Stage::Suspect { .. } | Stage::Unknown { .. } => Standing::Up,
        Stage::Held | Stage::Fenced { .. } | Stage::Stopped => Standing::Out,
        Stage::Unseen
        | Stage::Idle
        | Stage::Starting { .. }
        | Stage::Backoff { .. }
        | Stage::Waiting { .. }
        | Stage::Acting { .. }
        | Stage::Unproved { .. } => Standing::Coming,
    }
}

impl Supervisor {
    /// Begins what may begin, oldest first; the rest learns what it waits for.
    pub(crate) fn admit(&mut self, out: &mut Out, book: &mut Book) {
        let mut due: Vec<(Boottime, UnitKey)> = self
            .units
            .iter()
            .filter_map(|(key, unit)| match unit.stage {
                Stage::Waiting { since, .. } => Some((since, key.clone())),
                _ => None,
            })
            .collect();
        if due.is_empty() {
            return;
        }
        due.sort();
        let mut crowd = self.crowd();
        for (_, key) in due {
            let hold = self.hold(out.now.boot, &key, &crowd);
            self.with(out, book, &key, |unit, ctx| match hold {
                Some(hold) => unit.put_on_hold(ctx, hold),
                None => unit.go(ctx),
            });
            if let Some(unit) = self.units.get(&key) {
                crowd.count(&key, unit);
            }
        }
    }

    /// How many acts are under way.
    pub(crate) fn under_way(&self) -> u32 {
        self.crowd().under_way
    }

    /// True while something waits that the package manager holds, or would.
    pub(crate) fn has_due(&self) -> bool {
        let due = |unit: &Unit| matches!(unit.stage, Stage::Waiting { .. });
        self.units.values().any(due)
    }

    fn crowd(&self) -> Crowd {
        let mut crowd = Crowd {
            under_way: 0,
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        for (key, unit) in &self.units {
            crowd.count(key, unit);
            if let (Run::Systemd { unit: name }, false) =
                (&unit.plan.run, self.manners.orders.is_empty())
            {
                crowd.names.insert(full_name(key, name), key.clone());
            }
        }
        crowd
    }

    /// What a unit that is due waits for, if for anything.
    fn hold(&self, now: Boottime, key: &UnitKey, crowd: &Crowd) -> Option<Hold> {
        let unit = self.units.get(key)?;
        if matches!(key, UnitKey::Service(_)) {
            if unit.plan.mode != Mode::Act {
                return Some(Hold::Mode(unit.plan.mode));
            }
            if let Some(pause) = self.manners.pauses.of(key) {
                let (until, reason) = (pause.until, pause.reason);
                return Some(Hold::Paused { until, reason });
            }
            if let Some(until) = self.manners.packages_until(now) {
                return Some(Hold::Packages { until });
            }
        }
        if let Some(hold) = self.order(now, key, unit, crowd) {
            return Some(hold);
        }
        let group = unit.plan.group.as_ref();
        if let Some(busy) = group.and_then(|group| crowd.groups.get(group))
            && busy != key
        {
            return Some(Hold::Group { busy: busy.clone() });
        }
        let at_once = self.manners.settings.at_once;
        (crowd.under_way >= at_once).then_some(Hold::Turn { at_once })
    }

    fn order(&self, now: Boottime, key: &UnitKey, unit: &Unit, crowd: &Crowd) -> Option<Hold> {
        let Stage::Waiting { since, .. } = unit.stage else {
            return None;
        };
        let order = self.manners.orders.get(key)?;
        let until = since + ORDER_WAIT_MAX;
        let others = |names: &'_ [String]| {
            let known = names.iter().filter_map(|name| crowd.names.get(name));
            let known: Vec<&UnitKey> = known.filter(|other| *other != key).collect();
            known
        };
        for other in others(&order.requires) {
            let is_service = matches!(key, UnitKey::Service(_));
            let unit = other.clone();
            match self.stands(other, key) {
                // Its start would bring back what somebody stopped.
                Standing::Out if is_service => return Some(Hold::Requires { unit, until: None }),
                Standing::Up => {}
                _ if now < until => {
                    let until = Some(until);
                    return Some(Hold::Requires { unit, until });
                }
                _ => {}
            }
        }
        let coming = |other: &&UnitKey| self.stands(other, key) == Standing::Coming;
        let after = others(&order.after);
        let other = after.into_iter().find(coming).filter(|_| now < until)?;
        let unit = other.clone();
        Some(Hold::After { unit, until })
    }

    /// How another unit stands for this one. One that waits for this one itself is not waited for.
    fn stands(&self, other: &UnitKey, key: &UnitKey) -> Standing {
        match self.units.get(other).map(|unit| &unit.stage) {
            None => Standing::Up,
            Some(Stage::Waiting {
                hold: Hold::Requires { unit, .. } | Hold::After { unit, .. },
                ..
            }) if unit == key => Standing::Up,
            Some(stage) => standing(stage),
        }
    }
}
