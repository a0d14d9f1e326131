//! The state machine of the conditions that remedies are for: which has its turn, what waits, what
//! helped, and when nothing is left.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::{EventKind, Outcome};
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::remedy::{RemedyRecord, RemedyStep};
use nodemedic_protocol::{Boottime, Component, Condition, Millis, RemedyName, Severity};

use super::memory::RemedyIntent;
use super::{Around, Doctor, Key, Remedies, Remedy};
use crate::budget::BEGIN_WITHIN;
use crate::conditions::{Book, Finding};
use crate::config::RestartPolicy;
use crate::effect::{Effect, Treatment};
use crate::out::Out;

/// The edge answers each treatment by its timeout; one that it does not answer so long after that
/// is given up.
const ANSWER_SLACK: Millis = Millis::from_secs(30);

/// What is next for a condition.
enum Next {
    /// Nothing now.
    Wait,
    /// This one is only told.
    Advise(RemedyName),
    /// This one is not to be had.
    LeaveOut(RemedyName, String),
    /// This one.
    Treat(RemedyName),
    /// The reboot.
    Reboot(RemedyName),
    /// Nothing is left.
    GiveUp,
}

impl Doctor {
    /// What a treatment of an earlier run has become: nobody knows how it ended.
    pub(crate) fn recall(&mut self, out: &mut Out, settings: &Remedies, new_boot: bool) {
        self.say_back(out, new_boot);
        if let Some(intent) = self.open.take() {
            let took = match intent.boot_id == self.boot_id {
                true => out.now.boot.since(intent.at.boot),
                false => Millis::ZERO,
            };
            let key = (intent.component.clone(), intent.reason.clone());
            // It may go on, and is given its time.
            let settle = settings.get(&intent.remedy).map(|remedy| remedy.settle);
            let case = self.cases.entry(key).or_default();
            case.settles = settle.map(|span| out.now.boot + span);
            record(out, intent, String::new(), Outcome::Interrupted, took);
        }
    }

    /// A treatment has ended.
    pub(crate) fn ended(
        &mut self,
        out: &mut Out,
        settings: &Remedies,
        (id, outcome): (u64, Outcome),
        (command, took): (String, Millis),
    ) {
        let Some(intent) = self.open.take_if(|open| open.id == id) else {
            return;
        };
        let key = (intent.component.clone(), intent.reason.clone());
        let done = outcome == Outcome::Done;
        if let Some(case) = self.cases.get_mut(&key) {
            let settle = settings.get(&intent.remedy).map(|remedy| remedy.settle);
            case.settles = settle.filter(|_| done).map(|span| out.now.boot + span);
        }
        record(out, intent, command, outcome, took);
    }

    /// Everything that follows from time and conditions.
    pub(crate) fn tick(
        &mut self,
        out: &mut Out,
        book: &mut Book,
        settings: &Remedies,
        around: &Around,
    ) {
        self.give_up_silent(out, settings);
        self.tick_reboot(out, around);
        if settings.is_empty() && self.cases.is_empty() {
            return;
        }
        self.follow(out, book, settings, around);
        let keys: Vec<Key> = self.cases.keys().cloned().collect();
        for key in keys {
            // Each round leaves one out, or ends.
            for _ in 0..=settings.len() {
                match self.next_of(out, book, settings, around, &key) {
                    Next::Wait => break,
                    Next::LeaveOut(remedy, why) => {
                        let step = RemedyStep::LeftOut(why);
                        self.tell(out, book, settings, &key, &remedy, step);
                        self.try_it(&key, remedy);
                    }
                    Next::Advise(remedy) => {
                        self.tell(out, book, settings, &key, &remedy, RemedyStep::Advised);
                        if let Some(case) = self.cases.get_mut(&key) {
                            case.advised.insert(remedy);
                        }
                        break;
                    }
                    Next::Treat(remedy) => {
                        if self.treat(out, book, settings, &key, &remedy) {
                            break;
                        }
                    }
                    Next::Reboot(remedy) => {
                        self.want_reboot(out, book, settings, (&key, &remedy));
                        break;
                    }
                    Next::GiveUp => {
                        self.give_up(out, book, &key);
                        break;
                    }
                }
            }
        }
        self.go_if_cut_off(out, settings, around);
    }

    /// Cases begin and end with their conditions.
    fn follow(&mut self, out: &mut Out, book: &mut Book, settings: &Remedies, around: &Around) {
        let mode = |remedy: &Remedy| remedy.mode.min(around.mode);
        let of = |condition: &Condition| {
            let mut all = settings.values();
            all.any(|remedy| remedy.is_for(condition) && mode(remedy) != Mode::Off)
        };
        let own = |condition: &Condition| condition.reason == Reason::RemediesSpent;
        let all = book.all();
        let stand: BTreeMap<Key, bool> = all
            .iter()
            .filter(|condition| !own(condition))
            .map(|c| ((c.component.clone(), c.reason.clone()), of(c)))
            .collect();
        let gone: Vec<Key> = self
            .cases
            .keys()
            .filter(|key| !stand.get(*key).copied().unwrap_or(false))
            .cloned()
            .collect();
        for key in gone {
            self.cases.remove(&key);
            self.drop_wish(out, &key, "what asked for it is over");
        }
        for (key, _) in stand.into_iter().filter(|(_, treated)| *treated) {
            self.cases.entry(key).or_default();
        }
        self.drop_held_wish(out, settings, around);
        if !self.cases.values().any(|case| case.spent) {
            let because = "what no remedy helped is over";
            book.clear(out, &Component::Host, &Reason::RemediesSpent, because);
        }
    }

    fn next_of(
        &self,
        out: &Out,
        book: &Book,
        settings: &Remedies,
        around: &Around,
        key: &Key,
    ) -> Next {
        let now = out.now.boot;
        let (Some(case), Some(condition)) = (self.cases.get(key), book.get(&key.0, &key.1)) else {
            return Next::Wait;
        };
        let wished = self.wish.as_ref().is_some_and(|wish| wish.case == *key);
        // What nobody sees now may be over; and one thing is done at a time.
        if case.spent
            || wished
            || !condition.seen
            || self.open.is_some()
            || self.is_going()
            || case.settles.is_some_and(|until| now < until)
        {
            return Next::Wait;
        }
        let left = settings.iter().filter(|(name, remedy)| {
            remedy.is_for(condition)
                && remedy.mode.min(around.mode) != Mode::Off
                && !case.tried.contains(*name)
        });
        let Some((name, remedy)) = left.min_by_key(|(name, remedy)| (remedy.step, *name)) else {
            return Next::GiveUp;
        };
        if now < condition.since + remedy.after || around.held.is_some() {
            return Next::Wait;
        }
        if remedy.mode.min(around.mode) == Mode::Advise {
            return match case.advised.contains(name) {
                true => Next::Wait,
                false => Next::Advise(name.clone()),
            };
        }
        let used = self.budget.used(out.now, name, remedy.window);
        if used >= remedy.max {
            let why = format!("its budget of {} in {} is spent", remedy.max, remedy.window);
            return Next::LeaveOut(name.clone(), why);
        }
        match remedy.reboot {
            None => Next::Treat(name.clone()),
            Some(_) if self.wish.is_some() => Next::Wait,
            Some(_) if self.reboot.as_ref().is_some_and(|reboot| !reboot.failed) => {
                let why = "the host was rebooted, and has not been well since".to_string();
                Next::LeaveOut(name.clone(), why)
            }
            Some(_) => Next::Reboot(name.clone()),
        }
    }

    fn try_it(&mut self, key: &Key, remedy: RemedyName) {
        if let Some(case) = self.cases.get_mut(key) {
            case.tried.insert(remedy);
            case.settles = None;
        }
    }

    /// Takes a use of the budget, remembers, and has it done. False when there was none to take.
    fn treat(
        &mut self,
        out: &mut Out,
        book: &Book,
        settings: &Remedies,
        key: &Key,
        name: &RemedyName,
    ) -> bool {
        let (Some(remedy), Some(condition)) = (settings.get(name), book.get(&key.0, &key.1)) else {
            return true;
        };
        self.try_it(key, name.clone());
        let Ok(budget) = self.budget.take(out.now, name, &policy(remedy)) else {
            return false;
        };
        self.last = self.last.saturating_add(1);
        self.open = Some(RemedyIntent {
            id: self.last,
            remedy: name.clone(),
            component: key.0.clone(),
            reason: key.1.clone(),
            cause: cause_of(condition),
            evidence: condition.evidence.clone(),
            budget,
            boot_id: self.boot_id.clone(),
            at: out.now,
        });
        out.host.push(Effect::Treat(Treatment {
            id: self.last,
            remedy: name.clone(),
            timeout: remedy.timeout,
            reboots: false,
            begin_by: out.now.boot + BEGIN_WITHIN,
        }));
        true
    }

    /// An edge that does not answer must not keep the host from being helped.
    fn give_up_silent(&mut self, out: &mut Out, settings: &Remedies) {
        let Some(open) = &self.open else {
            return;
        };
        let timeout = settings
            .get(&open.remedy)
            .map_or(Millis::ZERO, |r| r.timeout);
        let took = out.now.boot.since(open.at.boot);
        if took >= timeout + ANSWER_SLACK {
            let id = open.id;
            self.ended(
                out,
                settings,
                (id, Outcome::TimedOut),
                (String::new(), took),
            );
        }
    }

    fn tell(
        &self,
        out: &mut Out,
        book: &Book,
        settings: &Remedies,
        key: &Key,
        name: &RemedyName,
        step: RemedyStep,
    ) {
        let (Some(remedy), Some(condition)) = (settings.get(name), book.get(&key.0, &key.1)) else {
            return;
        };
        out.event(
            key.0.clone(),
            EventKind::Remedy(RemedyRecord {
                remedy: name.clone(),
                step,
                cause: cause_of(condition),
                command: remedy.does.clone(),
                took: Millis::ZERO,
                evidence: condition.evidence.clone(),
                budget: None,
            }),
        );
    }

    /// Nothing is left to try: a person is paged, and the work should go elsewhere.
    fn give_up(&mut self, out: &mut Out, book: &mut Book, key: &Key) {
        let Some(case) = self.cases.get_mut(key) else {
            return;
        };
        case.spent = true;
        let tried: Vec<&str> = case.tried.iter().map(RemedyName::as_str).collect();
        let finding = Finding::plain(
            Severity::Critical,
            format!(
                "{}: {} stands though this was tried: {}",
                key.0,
                key.1,
                tried.join(", ")
            ),
        );
        // Of the host, because what reports on the part itself would end it again.
        book.raise(out, &Component::Host, &Reason::RemediesSpent, finding);
    }

    /// When time alone changes something.
    pub(crate) fn next_wake(
        &self,
        now: Boottime,
        book: &Book,
        settings: &Remedies,
    ) -> Option<Boottime> {
        let settles = self.cases.values().filter_map(|case| case.settles);
        let conditions = self.cases.keys().filter_map(|key| book.get(&key.0, &key.1));
        let afters = conditions.flat_map(|condition| {
            let fitting = settings.values().filter(|remedy| remedy.is_for(condition));
            fitting.map(|remedy| condition.since + remedy.after)
        });
        let silent = self.open.as_ref().and_then(|open| {
            let timeout = settings.get(&open.remedy)?.timeout;
            Some(open.at.boot + timeout + ANSWER_SLACK)
        });
        let all = settles.chain(afters).chain(silent);
        all.chain(self.reboot_wakes()).filter(|at| *at > now).min()
    }
}

pub(super) fn policy(remedy: &Remedy) -> RestartPolicy {
    RestartPolicy {
        max: remedy.max,
        window: remedy.window,
        ..RestartPolicy::default()
    }
}

pub(super) fn cause_of(condition: &Condition) -> String {
    format!(
        "{}: {}: {}",
        condition.component, condition.reason, condition.message
    )
}

fn record(out: &mut Out, intent: RemedyIntent, command: String, outcome: Outcome, took: Millis) {
    out.event(
        intent.component,
        EventKind::Remedy(RemedyRecord {
            remedy: intent.remedy,
            step: RemedyStep::Ended(outcome),
            cause: intent.cause,
            command,
            took,
            evidence: intent.evidence,
            budget: Some(intent.budget),
        }),
    );
}
