//! Does what the core wants, in its order: nothing that others can see is done before what must be
//! durable is.

use std::collections::VecDeque;

use nodemedic_agent_core::effect::LogLevel;
use nodemedic_agent_core::memory::Memory;
use nodemedic_agent_core::{Act, ActionId, Agent, Effect, Input, Treatment};
use nodemedic_agent_host::manager::Units;
use nodemedic_agent_host::remedies::Remedies;
use nodemedic_agent_host::watchdog::WatchdogClient;
use nodemedic_edge::clock;
use nodemedic_protocol::event::Verb;
use nodemedic_protocol::message::Message;
use nodemedic_protocol::{Boottime, Millis};

use crate::backlog::Change;
use crate::storage::{Storage, Write, Written};
use crate::uplink::Uplink;
use crate::withheld::Withheld;

/// How long a disk may keep others waiting. Then stops are done without it: a lease does not wait
/// for a disk.
const DISK_PATIENCE: Millis = Millis::from_secs(2);

/// A memory or an event that could not be written is tried again after this.
const DISK_RETRY: Millis = Millis::from_secs(1);

/// Effects that wait for the disk. A disk that is gone must not fill the memory with reports that
/// are repeated anyway.
const WAITING_MAX: usize = 1024;

/// The host's side of all effects.
#[derive(Debug)]
pub struct Driver {
    /// Services and works.
    pub units: Units,
    /// Remedies of the host.
    pub remedies: Remedies,
    /// The disk.
    pub storage: Storage,
    /// The broker; absent when none is configured.
    pub uplink: Option<Uplink>,
    /// The client of the watchdog.
    pub watchdog: WatchdogClient,
    waiting: VecDeque<Effect>,
    blocked_since: Option<Boottime>,
    /// The newest memory; kept because a failed write is tried again.
    memory: Option<Box<Memory>>,
    memory_retry_at: Option<Boottime>,
    spool_retry_at: Option<Boottime>,
    spool_is_behind: bool,
    /// Events that the disk has to take before they may leave.
    withheld: Withheld,
    /// Acts that were not begun, and why; the core decides them anew.
    not_begun: Vec<(ActionId, &'static str)>,
    farewell: Option<Message>,
}

impl Driver {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(
        units: Units,
        remedies: Remedies,
        storage: Storage,
        uplink: Option<Uplink>,
        watchdog: WatchdogClient,
    ) -> Driver {
        Driver {
            units,
            remedies,
            storage,
            uplink,
            watchdog,
            waiting: VecDeque::new(),
            blocked_since: None,
            memory: None,
            memory_retry_at: None,
            spool_retry_at: None,
            spool_is_behind: false,
            withheld: Withheld::default(),
            not_begun: Vec::new(),
            farewell: None,
        }
    }

    /// Does all that can be done now.
    pub fn pump(&mut self, agent: &mut Agent, now: Boottime) {
        self.pump_once(agent, now);
        if self.not_begun.is_empty() {
            return;
        }
        for (action, why) in core::mem::take(&mut self.not_begun) {
            let why = why.to_owned();
            agent.handle(clock::now(), Input::NotBegun { action, why });
        }
        // What is decided anew waits first, so one more round does all of it.
        self.pump_once(agent, now);
    }

    fn pump_once(&mut self, agent: &mut Agent, now: Boottime) {
        while let Some(effect) = agent.poll_effect() {
            self.waiting.push_back(effect);
        }
        if self.memory_retry_at.is_some_and(|at| at <= now)
            && let Some(memory) = self.memory.clone()
        {
            self.memory_retry_at = None;
            self.storage.write(Write::Memory(memory));
        }
        if self.spool_retry_at.is_some_and(|at| at <= now) && self.storage.has_room() {
            self.spool_retry_at = None;
            self.storage.write(Write::SpoolAgain);
        }
        while let Some(effect) = self.waiting.pop_front() {
            if self.must_wait(&effect) {
                self.waiting.push_front(effect);
                break;
            }
            self.perform(effect);
        }
        if self.waiting.is_empty() {
            self.blocked_since = None;
            return;
        }
        let since = *self.blocked_since.get_or_insert(now);
        if now.since(since) >= DISK_PATIENCE {
            self.stop_without_disk();
        }
        if self.waiting.len() > WAITING_MAX {
            let repeated = |e: &Effect| !matches!(e, Effect::Publish { .. } | Effect::Log { .. });
            self.waiting.retain(repeated);
        }
    }

    fn must_wait(&self, effect: &Effect) -> bool {
        match effect {
            Effect::SpoolAppend(_)
            | Effect::SpoolReplace { .. }
            | Effect::SpoolTrim { .. }
            | Effect::Remember(_)
            | Effect::RememberLeases(_) => !self.storage.has_room(),
            Effect::Act(_) | Effect::Treat(_) | Effect::Promise(_) => !self.storage.state_is_kept(),
            Effect::Publish { .. } => !self.storage.is_idle(),
            Effect::Watch(_) | Effect::Unwatch { .. } | Effect::Log { .. } => false,
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Watch(watch) => self.units.watch(watch),
            Effect::Unwatch { unit } => self.units.unwatch(&unit),
            Effect::Act(act) => self.act(act),
            Effect::Treat(treatment) => self.treat(treatment),
            Effect::Publish { message, token } => self.publish(message, token),
            Effect::SpoolAppend(event) => {
                let change = Change::Append(Box::new(event));
                self.storage.write(Write::Spool(change));
            }
            Effect::SpoolReplace { first, last, with } => {
                self.withheld.replaced(first, last);
                let with = Box::new(with);
                let change = Change::Replace { first, last, with };
                self.storage.write(Write::Spool(change));
            }
            Effect::SpoolTrim { through } => self.storage.write(Write::Trim { through }),
            Effect::Remember(memory) => {
                self.memory = Some(memory.clone());
                self.storage.write(Write::Memory(memory));
            }
            Effect::RememberLeases(leases) => self.storage.write(Write::Leases(leases)),
            Effect::Promise(promises) => self.watchdog.promise(promises),
            Effect::Log { level, message } => match level {
                LogLevel::Debug => tracing::debug!("{message}"),
                LogLevel::Info => tracing::info!("{message}"),
                LogLevel::Warn => tracing::warn!("{message}"),
                LogLevel::Error => tracing::error!("{message}"),
            },
        }
    }

    /// A start counts in a budget; while that cannot be written down, nothing is started.
    fn act(&mut self, act: Act) {
        if self.memory_is_broken() && act.verb.starts() {
            let why = "its restart cannot be written down";
            self.not_begun.push((act.action, why));
        } else {
            tracing::info!("{} {}", act.verb, act.unit);
            self.units.act(act);
        }
    }

    /// A use counts in a budget; while that cannot be written down nothing is done, but for what
    /// makes room on the disk: that is known on this boot all the same.
    fn treat(&self, treatment: Treatment) {
        if self.memory_is_broken() && !self.remedies.frees_space(&treatment.remedy) {
            let why = "it cannot be written down";
            self.remedies.not_done(treatment.id, why);
        } else {
            self.remedies.treat(treatment);
        }
    }

    const fn memory_is_broken(&self) -> bool {
        self.memory_retry_at.is_some()
    }

    /// The disk does not answer. What ends something is done all the same; what was to come before
    /// it for the same unit is not done any more.
    fn stop_without_disk(&mut self) {
        let is_stop = |effect: &Effect| match effect {
            Effect::Act(act) => matches!(act.verb, Verb::Stop | Verb::Fence),
            _ => false,
        };
        while let Some(at) = self.waiting.iter().position(is_stop) {
            let Some(Effect::Act(stop)) = self.waiting.remove(at) else {
                return;
            };
            tracing::error!(
                "the disk does not answer: {} is stopped without it",
                stop.unit
            );
            let earlier = self.waiting.drain(..at).collect::<Vec<_>>();
            for effect in earlier.into_iter().rev() {
                match effect {
                    Effect::Act(act) if act.unit == stop.unit => {
                        self.not_begun.push((act.action, "its stop came first"));
                    }
                    effect => self.waiting.push_front(effect),
                }
            }
            self.act(stop);
        }
    }

    fn publish(&mut self, message: Message, token: Option<nodemedic_agent_core::Token>) {
        // The farewell goes last, with the link's own goodbye.
        if let Message::Presence(presence) = &message
            && !presence.online
        {
            self.farewell = Some(message);
        } else if let Some(uplink) = &mut self.uplink
            && let Some((message, token)) =
                self.withheld.pass(message, token, self.storage.spooled())
        {
            uplink.send(&message, token);
        }
    }

    /// The disk has answered.
    pub fn written(&mut self, written: &Written, now: Boottime) {
        self.spool_written(written, now);
        if let Some(uplink) = &mut self.uplink
            && let Some((message, token)) = self.withheld.due(self.storage.spooled())
        {
            uplink.send(&message, token);
        }
        match &written.error {
            Some(error) if written.memory => {
                tracing::error!("{error}; it is tried again, and nothing is started until then");
                self.memory_retry_at = Some(now + DISK_RETRY);
            }
            Some(error) if written.state => {
                tracing::error!("{error}; what was to be kept is kept in memory only");
            }
            // Told once, with the events that wait for it.
            Some(error) if written.unspooled > 0 => tracing::debug!("{error}"),
            Some(error) => tracing::error!("{error}"),
            None => {}
        }
    }

    /// Events that the disk refused are tried again, and none of them leaves before.
    fn spool_written(&mut self, written: &Written, now: Boottime) {
        match (written.unspooled, self.spool_is_behind) {
            (0, true) => tracing::info!("the event spool takes events again, all are in it"),
            (1.., false) => tracing::error!(
                "{}; events are kept in memory and not sent until it does",
                written
                    .error
                    .as_deref()
                    .unwrap_or("the disk refuses events")
            ),
            _ => {}
        }
        self.spool_is_behind = written.unspooled > 0;
        if self.spool_is_behind {
            self.spool_retry_at.get_or_insert(now + DISK_RETRY);
        } else {
            self.spool_retry_at = None;
        }
    }

    /// When [`Driver::pump`] has something to do by itself.
    #[must_use]
    pub fn wake(&self) -> Option<Boottime> {
        let both = [self.memory_retry_at, self.spool_retry_at];
        both.into_iter().flatten().min()
    }

    /// True when everything that was wanted is done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.storage.is_idle()
    }

    /// Ends the links: the farewell last. Services and works keep running.
    pub async fn leave(self, within: Millis) {
        self.watchdog.leave(within.to_duration()).await;
        if let Some(uplink) = self.uplink {
            uplink.close(self.farewell.as_ref(), within).await;
        }
    }
}
