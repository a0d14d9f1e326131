//! The book of alerts: raised once, told to every receiver at least once, resolved once.
//!
//! What a receiver has heard is stored, so a restart tells again at most what was under way.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{AlertState, AlertView, Decision, Undelivered, WebhookBody};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{Boottime, Millis, NodeId, Now, Severity, WorkName};

use crate::effect::{Effect, LogLevel};
use crate::input::{NotifyFailure, NotifyId};
use crate::out::Out;
use crate::settings::{AlertSettings, Settings};
use crate::stored::{AlertRecord, Write};

/// Version of the webhook body.
const BODY_VERSION: u32 = 1;

/// At most so many tries at once: a receiver that hangs must not fill the edge with open requests.
const UNDER_WAY_MAX: usize = 16;

/// What is wrong now, as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) severity: Severity,
    pub(crate) node: Option<NodeId>,
    pub(crate) work: Option<WorkName>,
    pub(crate) summary: String,
    pub(crate) detail: String,
}

/// How the telling of one alert to one receiver goes.
#[derive(Clone, Debug)]
enum Telling {
    UnderWay {
        id: NotifyId,
        state: AlertState,
        until: Boottime,
        tries: u32,
        /// How the try before ended.
        last: Option<NotifyFailure>,
    },
    Waits {
        until: Boottime,
        tries: u32,
        last: NotifyFailure,
    },
}

impl Telling {
    const fn last_failure(&self) -> Option<&NotifyFailure> {
        match self {
            Telling::UnderWay { last, .. } => last.as_ref(),
            Telling::Waits { last, .. } => Some(last),
        }
    }
}

/// All alerts.
#[derive(Debug)]
pub(crate) struct Alerts {
    records: BTreeMap<String, AlertRecord>,
    /// By alert and receiver; none when all is told or nothing was tried.
    telling: BTreeMap<(String, String), Telling>,
    receivers: Vec<String>,
    last_try: u64,
    rng: Rng,
}

impl Alerts {
    pub(crate) fn new(
        settings: &Settings,
        records: BTreeMap<String, AlertRecord>,
        rng: Rng,
    ) -> Alerts {
        Alerts {
            records,
            telling: BTreeMap::new(),
            receivers: settings.alerts.receivers.clone(),
            last_try: 0,
            rng,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &AlertRecord> {
        self.records.values()
    }

    /// The keys that fire.
    pub(crate) fn firing(&self) -> Vec<String> {
        let open = self.records.values();
        open.filter(|r| r.state == AlertState::Firing)
            .map(|r| r.key.clone())
            .collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&AlertRecord> {
        self.records.get(key)
    }

    /// Raises an alert, or brings its words up to date. The same trouble is told again only when
    /// it matters more or less than before.
    pub(crate) fn raise(&mut self, out: &mut Out, now: Now, key: &str, firing: Firing) {
        if let Some(record) = self.records.get_mut(key)
            && record.state == AlertState::Firing
        {
            if record.severity == firing.severity && record.summary == firing.summary {
                return;
            }
            if record.severity != firing.severity {
                record.told.clear();
            }
            record.severity = firing.severity;
            record.summary = firing.summary;
            record.detail = firing.detail;
            out.store(Write::Alert(record.clone()));
            return;
        }
        let record = AlertRecord {
            key: key.to_string(),
            state: AlertState::Firing,
            severity: firing.severity,
            node: firing.node.clone(),
            work: firing.work,
            summary: firing.summary.clone(),
            detail: firing.detail,
            since: now.wall,
            resolved: None,
            told: BTreeMap::new(),
        };
        out.store(Write::Alert(record.clone()));
        let decision = Decision::AlertRaised {
            key: key.to_string(),
            summary: firing.summary,
        };
        out.decide(now, firing.node.as_ref(), decision);
        self.records.insert(key.to_string(), record);
    }

    pub(crate) fn resolve(&mut self, out: &mut Out, now: Now, key: &str) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.state == AlertState::Resolved {
            return;
        }
        record.state = AlertState::Resolved;
        record.resolved = Some(now.wall);
        out.store(Write::Alert(record.clone()));
        let decision = Decision::AlertResolved {
            key: key.to_string(),
        };
        out.decide(now, record.node.as_ref(), decision);
    }

    /// Tells what is not told yet, as far as retries allow, and forgets what is long over.
    pub(crate) fn tell(&mut self, out: &mut Out, now: Now, settings: &Settings) {
        let limits = &settings.alerts;
        self.expire(out, now.boot, limits);
        for (key, receiver) in self.untold() {
            if self.under_way() >= UNDER_WAY_MAX {
                break;
            }
            let slot = (key, receiver);
            match self.telling.get(&slot) {
                Some(Telling::UnderWay { .. }) => continue,
                Some(Telling::Waits { until, .. }) if now.boot < *until => continue,
                Some(Telling::Waits { .. }) | None => {}
            }
            self.try_once(out, now.boot, slot, settings);
        }
        self.forget_old(out, now, limits);
    }

    fn untold(&self) -> Vec<(String, String)> {
        let mut slots = Vec::new();
        for record in self.records.values() {
            for receiver in &self.receivers {
                if record.told.get(receiver) != Some(&record.state) {
                    slots.push((record.key.clone(), receiver.clone()));
                }
            }
        }
        slots
    }

    fn under_way(&self) -> usize {
        let all = self.telling.values();
        all.filter(|t| matches!(t, Telling::UnderWay { .. }))
            .count()
    }

    fn try_once(
        &mut self,
        out: &mut Out,
        now: Boottime,
        slot: (String, String),
        settings: &Settings,
    ) {
        let Some(record) = self.records.get_mut(&slot.0) else {
            return;
        };
        // From here on until it answers, nobody knows what the receiver has heard.
        if record.told.remove(&slot.1).is_some() {
            out.store(Write::Alert(record.clone()));
        }
        let (tries, last) = match self.telling.remove(&slot) {
            Some(Telling::Waits { tries, last, .. }) => (tries, Some(last)),
            Some(Telling::UnderWay { .. }) | None => (0, None),
        };
        self.last_try += 1;
        let id = NotifyId(self.last_try);
        let telling = Telling::UnderWay {
            id,
            state: record.state,
            until: now + settings.alerts.answer_within,
            tries: tries + 1,
            last,
        };
        let record = record.clone();
        let mut alert = self.view(&record);
        alert.undelivered.clear();
        out.push(Effect::Notify {
            id,
            receiver: slot.1.clone(),
            body: Box::new(WebhookBody {
                version: BODY_VERSION,
                site: settings.site.clone(),
                alert,
            }),
        });
        self.telling.insert(slot, telling);
    }

    /// A try whose answer never came has failed.
    fn expire(&mut self, out: &mut Out, now: Boottime, limits: &AlertSettings) {
        let over: Vec<NotifyId> = self
            .telling
            .values()
            .filter_map(|telling| match telling {
                Telling::UnderWay { id, until, .. } if *until <= now => Some(*id),
                _ => None,
            })
            .collect();
        for id in over {
            let failure = NotifyFailure {
                permanent: false,
                text: String::from("no answer in time"),
            };
            self.failed(out, now, id, failure, limits);
        }
    }

    fn find(&self, id: NotifyId) -> Option<((String, String), AlertState, u32)> {
        self.telling
            .iter()
            .find_map(|(slot, telling)| match telling {
                Telling::UnderWay {
                    id: found,
                    state,
                    tries,
                    ..
                } if *found == id => Some((slot.clone(), *state, *tries)),
                _ => None,
            })
    }

    fn failed(
        &mut self,
        out: &mut Out,
        now: Boottime,
        id: NotifyId,
        last: NotifyFailure,
        limits: &AlertSettings,
    ) {
        let Some((slot, _, tries)) = self.find(id) else {
            return;
        };
        let doublings = tries.saturating_sub(1).min(20);
        let backed_off = limits.retry_first.scaled(1 << doublings, 1);
        // Who refuses for good is asked again all the same: somebody may repair it there, and only
        // another try finds that out.
        let (wait, verdict) = match last.permanent {
            true => (limits.retry_max, "refuses for good"),
            false => (backed_off.min(limits.retry_max), "did not take"),
        };
        let wait = Millis(self.rng.jitter(wait.0).max(1));
        let text = alloc::format!(
            "receiver {} {verdict} alert {} (try {tries}): {}; the next try comes in {wait}",
            slot.1,
            slot.0,
            last.text
        );
        out.log(LogLevel::Warn, text);
        let until = now + wait;
        self.telling
            .insert(slot, Telling::Waits { until, tries, last });
    }

    /// A try has ended. An answer to a try that was given up counts as none.
    pub(crate) fn notified(
        &mut self,
        out: &mut Out,
        now: Now,
        id: NotifyId,
        result: Result<(), NotifyFailure>,
        limits: &AlertSettings,
    ) {
        if let Err(failure) = result {
            self.failed(out, now.boot, id, failure, limits);
            return;
        }
        let Some((slot, state, _)) = self.find(id) else {
            return;
        };
        self.telling.remove(&slot);
        if let Some(record) = self.records.get_mut(&slot.0) {
            record.told.insert(slot.1, state);
            out.store(Write::Alert(record.clone()));
        }
    }

    fn is_told(&self, record: &AlertRecord) -> bool {
        let mut receivers = self.receivers.iter();
        receivers.all(|r| record.told.get(r) == Some(&record.state))
    }

    fn forget_old(&mut self, out: &mut Out, now: Now, limits: &AlertSettings) {
        let old = |record: &AlertRecord| {
            let over = record
                .resolved
                .map(|at| Millis(now.wall.0.saturating_sub(at.0)));
            over.is_some_and(|over| over >= limits.keep_resolved)
        };
        let keys: Vec<String> = self
            .records
            .values()
            .filter(|r| old(r) && self.is_told(r))
            .map(|r| r.key.clone())
            .collect();
        for key in keys {
            self.records.remove(&key);
            self.telling.retain(|(alert, _), _| *alert != key);
            out.store(Write::ForgetAlert(key));
        }
    }

    /// When `tell` has something to do again. With as many tries under way as there may be, waits
    /// that are over begin with the next answer.
    pub(crate) fn next(&self) -> Option<Boottime> {
        let full = self.under_way() >= UNDER_WAY_MAX;
        let times = self.telling.values().filter_map(|telling| match telling {
            Telling::UnderWay { until, .. } => Some(*until),
            Telling::Waits { until, .. } => (!full).then_some(*until),
        });
        times.min()
    }

    pub(crate) fn view(&self, record: &AlertRecord) -> AlertView {
        AlertView {
            key: record.key.clone(),
            state: record.state,
            severity: record.severity,
            node: record.node.clone(),
            work: record.work.clone(),
            summary: record.summary.clone(),
            detail: record.detail.clone(),
            since: record.since,
            resolved: record.resolved,
            delivered: self.is_told(record),
            undelivered: self.undelivered(record),
        }
    }

    /// Who did not take the present state, as far as anything was tried.
    fn undelivered(&self, record: &AlertRecord) -> Vec<Undelivered> {
        let untold = self.receivers.iter();
        let untold = untold.filter(|r| record.told.get(*r) != Some(&record.state));
        untold
            .filter_map(|receiver| {
                let slot = (record.key.clone(), receiver.clone());
                let failure = self.telling.get(&slot)?.last_failure()?;
                Some(Undelivered {
                    receiver: receiver.clone(),
                    permanent: failure.permanent,
                    error: failure.text.clone(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{SiteId, WallTime};

    fn now(ms: u64) -> Now {
        Now {
            boot: Boottime(ms),
            wall: WallTime(ms),
        }
    }

    fn firing() -> Firing {
        Firing {
            severity: Severity::Critical,
            node: None,
            work: None,
            summary: "it burns".into(),
            detail: String::new(),
        }
    }

    fn failure(permanent: bool, text: &str) -> NotifyFailure {
        NotifyFailure {
            permanent,
            text: text.into(),
        }
    }

    struct Desk {
        settings: Settings,
        alerts: Alerts,
        out: Out,
    }

    impl Desk {
        fn new() -> Desk {
            let mut settings = Settings::new(SiteId::new("s").unwrap(), "0");
            settings.alerts.receivers = alloc::vec!["page".into()];
            Desk {
                alerts: Alerts::new(&settings, BTreeMap::new(), Rng::new(1)),
                out: Out::new(0),
                settings,
            }
        }

        fn raise(&mut self, ms: u64) {
            self.alerts.raise(&mut self.out, now(ms), "fire", firing());
        }

        fn resolve(&mut self, ms: u64) {
            self.alerts.resolve(&mut self.out, now(ms), "fire");
        }

        fn answer(&mut self, ms: u64, id: NotifyId, result: Result<(), NotifyFailure>) {
            let limits = &self.settings.alerts;
            self.alerts
                .notified(&mut self.out, now(ms), id, result, limits);
        }

        fn view(&self) -> AlertView {
            self.alerts.view(self.alerts.get("fire").unwrap())
        }

        /// What is tried now, as an id and a state.
        fn tries(&mut self, ms: u64) -> Vec<(NotifyId, AlertState)> {
            self.alerts.tell(&mut self.out, now(ms), &self.settings);
            let mut tries = Vec::new();
            while let Some(effect) = self.out.pop() {
                if let Effect::Notify { id, body, .. } = effect {
                    tries.push((id, body.alert.state));
                }
            }
            tries
        }
    }

    #[test]
    fn an_end_is_told_after_a_try_that_may_have_arrived_though_an_older_end_was_told() {
        let mut desk = Desk::new();
        desk.raise(0);
        let first = desk.tries(0)[0].0;
        desk.answer(1, first, Ok(()));
        desk.resolve(10);
        let end = desk.tries(10)[0].0;
        desk.raise(11);
        desk.answer(12, end, Ok(()));
        let again = desk.tries(12);
        assert_eq!(again[0].1, AlertState::Firing);
        desk.resolve(13);
        // Whether this try arrived is unknown, so the end must be told once more.
        desk.answer(14, again[0].0, Err(failure(false, "timed out")));
        let at = desk.alerts.next().unwrap();
        let last = desk.tries(at.0);
        assert_eq!(last[0].1, AlertState::Resolved);
        desk.answer(at.0 + 1, last[0].0, Ok(()));
        assert!(desk.tries(at.0 + 1).is_empty());
        assert_eq!(desk.alerts.next(), None, "a wait without an end");
    }

    #[test]
    fn a_receiver_that_refuses_for_good_is_tried_at_the_longest_pace_and_said_to_refuse() {
        let mut desk = Desk::new();
        let longest = desk.settings.alerts.retry_max.0;
        desk.raise(0);
        let mut at = 0;
        // From the first refusal on, and no faster or slower later.
        for _ in 0..3 {
            let id = desk.tries(at)[0].0;
            desk.answer(at, id, Err(failure(true, "HTTP 404 no hook")));
            let pause = desk.alerts.next().unwrap().0 - at;
            assert!(pause >= longest - longest / 5, "tried again after {pause}");
            assert!(pause <= longest + longest / 5, "tried again after {pause}");
            let Some(Effect::Log { text, .. }) = desk.out.pop() else {
                panic!("the log says nothing")
            };
            let said = "receiver page refuses for good alert fire";
            assert!(text.starts_with(said), "{text}");
            assert!(text.contains("HTTP 404 no hook"), "{text}");
            let view = desk.view();
            assert!(!view.delivered);
            assert_eq!(view.undelivered[0].receiver, "page");
            assert!(view.undelivered[0].permanent);
            assert_eq!(view.undelivered[0].error, "HTTP 404 no hook");
            assert!(desk.tries(at + pause - 1).is_empty());
            at += pause;
        }
        // Somebody repaired it.
        let id = desk.tries(at)[0].0;
        assert!(desk.view().undelivered[0].permanent, "its last word stands");
        desk.answer(at, id, Ok(()));
        assert!(desk.view().delivered && desk.view().undelivered.is_empty());
        assert_eq!(desk.alerts.next(), None);
    }

    #[test]
    fn a_receiver_that_is_away_for_now_is_tried_soon_and_is_not_said_to_refuse() {
        let mut desk = Desk::new();
        let first = desk.settings.alerts.retry_first.0;
        desk.raise(0);
        let id = desk.tries(0)[0].0;
        desk.answer(0, id, Err(failure(false, "HTTP 503")));
        let pause = desk.alerts.next().unwrap().0;
        assert!(pause <= first + first / 5, "tried again after {pause}");
        assert!(!desk.view().undelivered[0].permanent);
        desk.alerts.tell(&mut desk.out, now(pause), &desk.settings);
        let mut bodies = Vec::new();
        while let Some(effect) = desk.out.pop() {
            if let Effect::Notify { body, .. } = effect {
                bodies.push(body);
            }
        }
        assert_eq!(bodies.len(), 1);
        assert!(bodies[0].alert.undelivered.is_empty(), "told to a receiver");
    }

    #[test]
    fn a_receiver_that_hangs_holds_a_bounded_number_of_tries_and_no_timer_in_the_past() {
        let mut desk = Desk::new();
        for n in 0..40 {
            let key = alloc::format!("fire-{n}");
            desk.alerts.raise(&mut desk.out, now(0), &key, firing());
        }
        let tries = desk.tries(0);
        assert_eq!(tries.len(), UNDER_WAY_MAX);
        assert!(desk.tries(5_000).is_empty());
        assert!(desk.alerts.next().unwrap() > Boottime(5_000));
        for (id, _) in tries {
            desk.answer(6_000, id, Ok(()));
        }
        assert_eq!(desk.tries(6_000).len(), UNDER_WAY_MAX);
    }
}
