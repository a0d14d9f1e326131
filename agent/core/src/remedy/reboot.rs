//! The reboots of this host: the wish, the permit or the own policy, the act, and the return.
//!
//! Every gate is looked at again in the moment in which a permit arrives: it may have been under
//! way for as long as it holds.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::reboot::{RebootWanted, RebootWord};
use nodemedic_protocol::remedy::HostReboot;
use nodemedic_protocol::{Boottime, CommandId, Component, Millis, RemedyName};

use super::cases::{cause_of, policy};
use super::memory::RebootMemory;
use super::{Around, Doctor, Key, Remedies, Wish};
use crate::budget::BEGIN_WITHIN;
use crate::conditions::Book;
use crate::effect::{Effect, Treatment};
use crate::out::Out;

/// A host that is still on the same boot so long after it was to go does not go any more: systemd
/// gives its units 90 seconds, and a few of them in turn.
const GOES_WITHIN: Millis = Millis::from_secs(10 * 60);

impl Doctor {
    /// What is said of it in each heartbeat.
    pub(crate) fn word(&self) -> Option<RebootWord> {
        match (&self.reboot, &self.wish) {
            (Some(reboot), _) if reboot.boot_id != self.boot_id => Some(RebootWord::StaysOut {
                why: reboot.why.clone(),
                well_for: reboot.stay_out,
            }),
            (Some(reboot), _) if !reboot.failed => Some(RebootWord::Going {
                permit: reboot.permit.clone(),
            }),
            (_, Some(wish)) => Some(RebootWord::Wanted(RebootWanted {
                why: wish.why.clone(),
                since: wish.since.wall,
                stay_out: wish.policy.stay_out,
            })),
            _ => None,
        }
    }

    /// True while this boot is to end.
    pub(super) fn is_going(&self) -> bool {
        let reboot = self.reboot.as_ref();
        reboot.is_some_and(|reboot| reboot.boot_id == self.boot_id && !reboot.failed)
    }

    pub(super) fn want_reboot(
        &mut self,
        out: &mut Out,
        book: &Book,
        settings: &Remedies,
        (key, name): (&Key, &RemedyName),
    ) {
        let remedy = settings.get(name);
        let (Some(condition), Some(policy)) =
            (book.get(&key.0, &key.1), remedy.and_then(|r| r.reboot))
        else {
            return;
        };
        let tried = self.cases.get(key).map(|case| &case.tried);
        let tried: Vec<&str> = tried
            .into_iter()
            .flatten()
            .map(RemedyName::as_str)
            .collect();
        let mut why = cause_of(condition);
        if !tried.is_empty() {
            why.push_str(&format!(" (tried: {})", tried.join(", ")));
        }
        out.event(
            Component::Host,
            EventKind::Reboot(HostReboot::Wanted { why: why.clone() }),
        );
        self.wish = Some(Wish {
            case: key.clone(),
            remedy: name.clone(),
            why,
            since: out.now,
            policy,
        });
    }

    pub(super) fn drop_wish(&mut self, out: &mut Out, case: &Key, because: &str) {
        if self.wish.take_if(|wish| wish.case == *case).is_some() {
            let because = because.to_string();
            out.event(
                Component::Host,
                EventKind::Reboot(HostReboot::Dropped { because }),
            );
        }
    }

    /// What may not be done is not asked for: the fleet would make room for nothing.
    pub(super) fn drop_held_wish(&mut self, out: &mut Out, settings: &Remedies, around: &Around) {
        let Some(wish) = &self.wish else {
            return;
        };
        let mode = settings
            .get(&wish.remedy)
            .map(|remedy| remedy.mode.min(around.mode));
        let because = match (mode, &around.held) {
            (Some(Mode::Act), None) => return,
            (Some(Mode::Act), Some(held)) => held.clone(),
            _ => "it may no longer be done".to_string(),
        };
        let case = wish.case.clone();
        self.drop_wish(out, &case, &because);
    }

    /// A permit has arrived; the command that brought it was for this node and boot, and in time.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn permit(
        &mut self,
        out: &mut Out,
        settings: &Remedies,
        around: &Around,
        id: &CommandId,
    ) -> Result<(), String> {
        if self.is_going() {
            return Err("it is going already".to_string());
        }
        // One of this boot that did not end it is used up all the same.
        let used = self
            .reboot
            .as_ref()
            .and_then(|reboot| reboot.permit.as_ref());
        if used == Some(id) {
            return Err("this permit was used".to_string());
        }
        self.go(out, settings, around, Some(id.clone()))
    }

    /// The host's own policy, where nobody can be asked.
    pub(super) fn go_if_cut_off(&mut self, out: &mut Out, settings: &Remedies, around: &Around) {
        let due = self.cut_off_at().is_some_and(|at| at <= out.now.boot);
        if due {
            // What is in the way is looked at again with the next input.
            let _in_the_way = self.go(out, settings, around, None);
        }
    }

    /// When the own policy allows it.
    fn cut_off_at(&self) -> Option<Boottime> {
        let wish = self.wish.as_ref()?;
        let after = wish.policy.cut_off_after?;
        Some(self.heard.max(wish.since.boot) + after)
    }

    /// Looks at every gate of this host, takes a use of the budget, remembers, and asks systemd.
    fn go(
        &mut self,
        out: &mut Out,
        settings: &Remedies,
        around: &Around,
        permit: Option<CommandId>,
    ) -> Result<(), String> {
        let wish = self.wish.clone().ok_or("no reboot is wanted")?;
        let remedy = settings.get(&wish.remedy).ok_or("no reboot is declared")?;
        if remedy.mode.min(around.mode) != Mode::Act {
            return Err("it may only advise".to_string());
        }
        if let Some(held) = &around.held {
            return Err(format!("healing is held: {held}"));
        }
        if let Some(work) = &around.exclusive {
            return Err(format!("{work} is not proved stopped here"));
        }
        if self.open.is_some() {
            return Err("another remedy is under way".to_string());
        }
        let taken = self.budget.take(out.now, &wish.remedy, &policy(remedy));
        let budget =
            taken.map_err(|b| format!("{} of {} in {} are used", b.used, b.of, b.window))?;
        self.wish = None;
        self.try_reboot(&wish);
        self.last = self.last.saturating_add(1);
        self.reboot = Some(RebootMemory {
            why: wish.why.clone(),
            boot_id: self.boot_id.clone(),
            at: out.now,
            permit: permit.clone(),
            stay_out: wish.policy.stay_out,
            failed: false,
        });
        let why = wish.why;
        let begun = HostReboot::Begun {
            permit,
            why,
            budget,
        };
        out.event(Component::Host, EventKind::Reboot(begun));
        out.host.push(Effect::Treat(Treatment {
            id: self.last,
            remedy: wish.remedy,
            reboots: true,
            timeout: remedy.timeout,
            begin_by: out.now.boot + BEGIN_WITHIN,
        }));
        Ok(())
    }

    fn try_reboot(&mut self, wish: &Wish) {
        if let Some(case) = self.cases.get_mut(&wish.case) {
            case.tried.insert(wish.remedy.clone());
        }
    }

    /// Systemd could not be asked for the reboot that is under way.
    pub(crate) fn not_gone(&mut self, out: &mut Out, id: u64, error: String) {
        if id == self.last && self.is_going() && self.open.is_none() {
            self.fail(out, error);
        }
    }

    fn fail(&mut self, out: &mut Out, error: String) {
        if let Some(reboot) = &mut self.reboot {
            reboot.failed = true;
        }
        out.event(
            Component::Host,
            EventKind::Reboot(HostReboot::Failed { error }),
        );
    }

    /// Back from one, or still here.
    pub(super) fn tick_reboot(&mut self, out: &mut Out, around: &Around) {
        let Some(reboot) = &self.reboot else {
            return;
        };
        let now = out.now.boot;
        if reboot.boot_id == self.boot_id {
            if !reboot.failed && now.since(reboot.at.boot) >= GOES_WITHIN {
                self.fail(out, format!("still on the same boot after {GOES_WITHIN}"));
            }
            return;
        }
        self.well_since = match (around.well, self.well_since) {
            (true, since) => Some(since.unwrap_or(now)),
            (false, _) => None,
        };
        let well_for = reboot.stay_out;
        if self
            .well_since
            .is_some_and(|since| now.since(since) >= well_for)
        {
            self.reboot = None;
            self.well_since = None;
            out.event(
                Component::Host,
                EventKind::Reboot(HostReboot::Well { well_for }),
            );
        }
    }

    /// Tells, on a new boot, that the reboot was one.
    pub(crate) fn say_back(&self, out: &mut Out, new_boot: bool) {
        let reboot = self.reboot.as_ref();
        if let Some(reboot) = reboot.filter(|r| new_boot && r.boot_id != self.boot_id) {
            let why = reboot.why.clone();
            out.event(Component::Host, EventKind::Reboot(HostReboot::Back { why }));
        }
    }

    pub(super) fn reboot_wakes(&self) -> impl Iterator<Item = Boottime> {
        let reboot = self.reboot.as_ref();
        let going = reboot.filter(|_| self.is_going());
        let going = going.map(|reboot| reboot.at.boot + GOES_WITHIN);
        let back = self.well_since.zip(reboot);
        let back = back.map(|(since, reboot)| since + reboot.stay_out);
        [going, back, self.cut_off_at()].into_iter().flatten()
    }
}
