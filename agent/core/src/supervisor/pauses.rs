//! Holds of persons on healing. Each ends by itself, whatever becomes of agent and host.
//!
//! Time counts on the boot clock. After a reboot nobody knows how much of a pause was left, so its
//! whole span counts once more, and the spans of all boots together never pass the longest one that
//! is allowed. That can hold for longer than was asked, never for ever.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::healing::{PAUSE_MAX, PauseStatus};
use nodemedic_protocol::{BootId, Boottime, Millis, ServiceName};

use crate::memory::Pause;
use crate::unit::UnitKey;

/// All of them; `None` is the whole host.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    boot_id: BootId,
    all: BTreeMap<Option<ServiceName>, Pause>,
}

impl Pauses {
    /// What an earlier run left.
    pub(crate) fn restored(boot_id: BootId, memory: Vec<Pause>) -> Pauses {
        let carried = |mut pause: Pause| {
            if pause.boot_id != boot_id {
                pause.spent = pause.spent + pause.span;
                pause.span = pause.span.min(PAUSE_MAX - pause.spent);
                pause.since = Boottime(0);
                pause.boot_id = boot_id.clone();
            }
            (pause.service.clone(), pause)
        };
        Pauses {
            all: memory.into_iter().map(carried).collect(),
            boot_id,
        }
    }

    /// What must be remembered.
    pub(crate) fn memory(&self) -> Vec<Pause> {
        self.all.values().cloned().collect()
    }

    pub(crate) fn get(&self, service: Option<&ServiceName>) -> Option<PauseStatus> {
        self.all.get(&service.cloned()).map(|pause| PauseStatus {
            since: pause.since,
            until: end(pause),
            reason: pause.reason.clone(),
        })
    }

    /// What holds this unit now: of its own pause and the host's the one that ends later. Works are
    /// the fleet's, and no pause of a host holds them.
    pub(crate) fn of(&self, unit: &UnitKey) -> Option<PauseStatus> {
        let UnitKey::Service(service) = unit else {
            return None;
        };
        let both = [self.get(Some(service)), self.get(None)];
        both.into_iter().flatten().max_by_key(|pause| pause.until)
    }

    pub(crate) fn set(
        &mut self,
        now: Boottime,
        service: Option<ServiceName>,
        span: Millis,
        reason: String,
    ) {
        let pause = Pause {
            service: service.clone(),
            boot_id: self.boot_id.clone(),
            since: now,
            span: span.min(PAUSE_MAX),
            spent: Millis::ZERO,
            reason,
        };
        self.all.insert(service, pause);
    }

    /// Ends one. Returns whether there was one.
    pub(crate) fn end(&mut self, service: Option<&ServiceName>) -> bool {
        self.all.remove(&service.cloned()).is_some()
    }

    /// Those whose time is over.
    pub(crate) fn over(&self, now: Boottime) -> Vec<Option<ServiceName>> {
        let over = self.all.iter().filter(|(_, pause)| end(pause) <= now);
        over.map(|(service, _)| service.clone()).collect()
    }

    /// All that are held.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Option<ServiceName>> {
        self.all.keys()
    }

    pub(crate) fn next_end(&self) -> Option<Boottime> {
        self.all.values().map(end).min()
    }
}

fn end(pause: &Pause) -> Boottime {
    pause.since + pause.span
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    const HOUR: Millis = Millis::from_secs(3600);

    fn boot(n: u64) -> BootId {
        BootId::new(alloc::format!("boot-{n}")).unwrap()
    }

    fn web() -> UnitKey {
        UnitKey::Service(ServiceName::new("web").unwrap())
    }

    #[test]
    fn a_reboot_counts_the_span_once_more_and_all_boots_together_never_more_than_a_day() {
        let mut pauses = Pauses::restored(boot(0), vec![]);
        pauses.set(Boottime(5), None, HOUR.scaled(7, 1), "disks".to_string());
        let mut whole = Millis::ZERO;
        for n in 1..10 {
            whole = whole + pauses.memory().first().map_or(Millis::ZERO, |p| p.span);
            pauses = Pauses::restored(boot(n), pauses.memory());
            assert!(pauses.get(None).is_none_or(|p| p.since == Boottime(0)));
        }
        assert_eq!(whole, PAUSE_MAX);
        assert_eq!(pauses.over(Boottime(0)), [None], "nothing is left of it");
    }

    #[test]
    fn of_two_pauses_the_later_end_holds_and_a_work_is_held_by_none() {
        let mut pauses = Pauses::restored(boot(0), vec![]);
        pauses.set(Boottime(0), None, HOUR, "host".to_string());
        let name = ServiceName::new("web").unwrap();
        pauses.set(
            Boottime(0),
            Some(name),
            HOUR.scaled(2, 1),
            "web".to_string(),
        );
        assert_eq!(pauses.of(&web()).unwrap().reason, "web");
        assert!(pauses.end(Some(&ServiceName::new("web").unwrap())));
        assert_eq!(pauses.of(&web()).unwrap().reason, "host");
        let work = UnitKey::Work(nodemedic_protocol::WorkName::new("web").unwrap());
        assert_eq!(pauses.of(&work), None);
    }
}
