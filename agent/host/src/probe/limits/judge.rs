//! What a look at the processes of a unit means beside the looks before it. Pure: time comes with
//! each look.

use std::collections::BTreeMap;

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::work::Limits;
use nodemedic_protocol::{Boottime, Millis};

use super::read::{Found, Process};

/// Busy, when nothing else is said: the clock ticks of the kernel are coarse, and another process
/// may have had a moment.
const BUSY_PERCENT: u32 = 95;

/// Of what is wrong, so many things are said.
const SAID_MAX: usize = 4;

/// As for a silence: a longer gap between two looks is no time in which something was seen.
const LATE: Millis = Millis::from_secs(2);

/// A process by its number and its start.
type Id = (u32, u64);

/// What one probe knows.
#[derive(Debug)]
pub struct Judge {
    limits: Limits,
    gap_max: Millis,
    looked: Option<Boottime>,
    /// Processor time at the last look, and for how long it has been busy.
    busy: BTreeMap<Id, (u64, Millis)>,
    /// Threads in the kernel: switches at the last look, and for how long it is the same wait.
    stuck: BTreeMap<(Id, u32), (u64, Millis)>,
}

impl Judge {
    /// Nothing was looked at yet.
    pub fn new(limits: Limits, interval: Millis, timeout: Millis) -> Judge {
        Judge {
            limits,
            gap_max: interval + timeout + LATE,
            looked: None,
            busy: BTreeMap::new(),
            stuck: BTreeMap::new(),
        }
    }

    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looked again.
    pub fn look(&mut self, found: &Found) -> Verdict {
        let between = self.looked.map_or(Millis::ZERO, |at| found.at.since(at));
        self.looked = Some(found.at);
        self.count(found, between);
        let (mut over, mut unseen) = (Vec::new(), Vec::new());
        for process in &found.processes {
            self.judge(process, &mut over, &mut unseen);
        }
        let say = |mut all: Vec<String>| {
            let more = all.len().saturating_sub(SAID_MAX);
            all.truncate(SAID_MAX);
            let and = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            format!("limits probe: {}{and}", all.join(", "))
        };
        match (over.is_empty(), unseen.is_empty()) {
            (false, _) => Verdict::Fail(say(over)),
            (true, false) => Verdict::Unknown(say(unseen)),
            (true, true) => Verdict::Pass,
        }
    }

    /// Carries on how long each process is busy, and each thread waits.
    fn count(&mut self, found: &Found, between: Millis) {
        let percent = u64::from(self.limits.cpu_percent.unwrap_or(BUSY_PERCENT));
        let seen = between <= self.gap_max;
        let (mut busy, mut stuck) = (BTreeMap::new(), BTreeMap::new());
        for process in &found.processes {
            let id = (process.pid, process.start_ticks);
            let spun = match self.busy.get(&id) {
                Some((cpu_ms, spun)) if seen => {
                    let used = process.cpu_ms.saturating_sub(*cpu_ms);
                    let enough = used.saturating_mul(100) >= percent.saturating_mul(between.0);
                    let counts = enough && between > Millis::ZERO;
                    if counts {
                        *spun + between
                    } else {
                        Millis::ZERO
                    }
                }
                _ => Millis::ZERO,
            };
            busy.insert(id, (process.cpu_ms, spun));
            for thread in &process.stuck {
                let key = (id, thread.tid);
                let waits = match self.stuck.get(&key) {
                    Some((switches, waits)) if *switches == thread.switches => {
                        *waits + between.min(self.gap_max)
                    }
                    _ => Millis::ZERO,
                };
                stuck.insert(key, (thread.switches, waits));
            }
        }
        (self.busy, self.stuck) = (busy, stuck);
    }

    fn judge(&self, process: &Process, over: &mut Vec<String>, unseen: &mut Vec<String>) {
        let (pid, limits) = (process.pid, &self.limits);
        if let Some(max) = limits.rss_bytes.filter(|max| process.rss_bytes > *max) {
            let mib = |bytes: u64| bytes / (1 << 20);
            let (has, max) = (mib(process.rss_bytes), mib(max));
            over.push(format!("process {pid} has {has} MiB resident, limit {max}"));
        }
        match (&process.fds, &process.fd_limit) {
            (Some(Err(why)), _) | (_, Some(Err(why))) => unseen.push(why.clone()),
            (Some(Ok(fds)), limit) => {
                if let Some(max) = limits.fds.filter(|max| fds > max) {
                    over.push(format!("process {pid} has {fds} open files, limit {max}"));
                }
                if let (Some(Ok(Some(of))), Some(percent)) = (limit, limits.fds_percent)
                    && fds.saturating_mul(100) > of.saturating_mul(u64::from(percent))
                {
                    over.push(format!(
                        "process {pid} has {fds} of {of} open files, limit {percent} percent"
                    ));
                }
            }
            (None, _) => {}
        }
        let id = (pid, process.start_ticks);
        if let (Some(max), Some((_, spun))) = (limits.cpu_spin, self.busy.get(&id))
            && *spun >= max
        {
            over.push(format!(
                "process {pid} has kept a processor busy for {spun}"
            ));
        }
        if let Some(max) = limits.d_state {
            for thread in &process.stuck {
                let waits = self.stuck.get(&(id, thread.tid)).map(|(_, waits)| *waits);
                if let Some(waits) = waits.filter(|waits| *waits >= max) {
                    let tid = thread.tid;
                    over.push(format!(
                        "thread {tid} of process {pid} hangs in the kernel for {waits}"
                    ));
                }
            }
        }
    }
}
