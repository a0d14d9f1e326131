//! The client of the watchdog: tells it what was promised, and hears how promises are enforced.
//!
//! A task of its own sends a beat every second, and at once when a promise or its target changes.
//! No answer, a refusal, or a promise that has no room means that nothing is enforced: the core is
//! told and says so to the coordinator.

pub mod beat;
pub mod confirm;
pub mod last_words;

use std::collections::BTreeSet;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::PathBuf;
use std::time::Duration;

use nodemedic_agent_core::{Input, Promise, UnitKey};
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use nodemedic_protocol::work::Enforcement;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::beat::{Answer, Beat, PROMISES_MAX, Promised, Status};
use self::confirm::{Exchanged, Questions};
use crate::boot;
use crate::manager::target::{Target, Targets};

/// Between two beats when nothing changes.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What is told to the watchdog as the latest moment of the next beat: two may be late before it
/// has a reason to speak of silence, a second later. Together less than a short lease and its
/// grace, so that a frozen agent is known to be one when its promise is overdue.
const NEXT_MS: u64 = 2_000;

/// An answer comes at once or not at all.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// While a start waits for the watchdog, so long between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// What is named only to be taken back is due so late, should the agent die between the two beats:
/// the next agent is there long before, and takes it back.
const TAKE_BACK_DUE: Millis = Millis::from_secs(60);

/// Beats in a row without an answer that mean that there is no watchdog. One may be lost when it
/// restarts.
const MISSES_MAX: u32 = 2;

/// Answers are 64 bytes; a longer datagram is cut and refused.
const ANSWER_MAX_BYTES: usize = 65;

/// Tells the task what is promised. The task ends when this is dropped; promises stay.
#[derive(Debug)]
pub struct WatchdogClient {
    promises: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Orders {
    promises: Vec<Promise>,
    leaving: bool,
}

impl WatchdogClient {
    /// Begins to beat. `targets` says what each promise is about, `questions` what waits for it.
    ///
    /// # Errors
    /// When the kernel gives no random number.
    pub fn start(
        socket: PathBuf,
        targets: Targets,
        questions: Questions,
        inputs: mpsc::Sender<Input>,
    ) -> io::Result<WatchdogClient> {
        let (promises, orders) = watch::channel(Orders::default());
        let task = Task {
            socket,
            targets,
            questions,
            inputs,
            orders,
            session: boot::random_number()?,
            sequence: 0,
            told: None,
            declared: false,
            device_reset: None,
            misses: 0,
            complained: None,
            named: BTreeSet::new(),
        };
        Ok(WatchdogClient {
            promises,
            task: tokio::spawn(task.run()),
        })
    }

    /// All promises, in place of those before.
    pub fn promise(&self, promises: Vec<Promise>) {
        self.promises
            .send_modify(|orders| orders.promises = promises);
    }

    /// The agent ends on request: says so with a last beat and waits for it, at most `within`.
    pub async fn leave(mut self, within: Duration) {
        self.promises.send_modify(|orders| orders.leaving = true);
        if timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

struct Task {
    socket: PathBuf,
    targets: Targets,
    questions: Questions,
    inputs: mpsc::Sender<Input>,
    orders: watch::Receiver<Orders>,
    session: u64,
    sequence: u64,
    told: Option<Enforcement>,
    /// Whether the core was ever told that promises are enforced.
    declared: bool,
    device_reset: Option<bool>,
    misses: u32,
    complained: Option<String>,
    /// Cgroups that this session has promised of. What an earlier session promised of them is its
    /// own since then, and ends when it is left out.
    named: BTreeSet<Target>,
}

impl Task {
    async fn run(mut self) {
        let mut own = None;
        loop {
            self.questions.take_up();
            let orders = self.orders.borrow_and_update().clone();
            let (named, answer, took_over) = self.exchange(&mut own, &orders).await;
            if orders.leaving {
                return;
            }
            self.hear(&answer, &orders).await;
            let enforced = |a: &Answer| a.enforcement() != Enforcement::None;
            let result = match &answer {
                Ok(answer) if enforced(answer) => Exchanged::Enforced {
                    named: &named,
                    broken: answer.broken,
                },
                Ok(answer) if answer.status == Status::Taken => {
                    Exchanged::Nobody("the watchdog makes a dry run".to_owned())
                }
                Ok(answer) => Exchanged::Nobody(answer.status.to_string()),
                Err(error) => Exchanged::Nobody(error.clone()),
            };
            self.questions
                .answer(&result, &orders.promises, self.declared);
            let wait = if took_over {
                // Left out at once.
                Duration::ZERO
            } else if self.questions.is_waiting() {
                RETRY_EVERY
            } else {
                BEAT_EVERY
            };
            let changed = async {
                tokio::select! {
                    changed = self.orders.changed() => changed.is_ok(),
                    () = self.targets.changed() => true,
                    asked = self.questions.next() => asked,
                }
            };
            if matches!(timeout(wait, changed).await, Ok(false)) {
                return;
            }
        }
    }

    /// One beat with what it named, its answer, and whether it took anything over only to leave it
    /// out of the next.
    async fn exchange(
        &mut self,
        own: &mut Option<UnixDatagram>,
        orders: &Orders,
    ) -> (Vec<Promise>, Result<Answer, String>, bool) {
        let (named, mut promises, left_out) = self.promised(orders);
        let promised = promises.len();
        self.take_over(&mut promises, orders.leaving);
        let targets: Vec<Target> = promises.iter().map(|p| p.target.clone()).collect();
        let mut took_over = targets.len() > promised;
        let own_alone = promises[..promised].to_vec();
        let beat = self.beat(orders, promises);
        let mut answer = self.tell(own, &beat).await;
        if took_over && matches!(&answer, Ok(a) if a.status != Status::Taken) {
            // What is promised now counts more: the rest is left to the watchdog.
            took_over = false;
            for target in &targets[promised..] {
                tracing::warn!(
                    ?target,
                    "cannot take back what an earlier run promised of it"
                );
                self.targets.taken_back(target);
            }
            let beat = self.beat(orders, own_alone);
            answer = self.tell(own, &beat).await;
        } else if matches!(&answer, Ok(a) if a.status == Status::Taken && a.broken == 0) {
            let cgroups = targets.into_iter();
            self.named
                .extend(cgroups.filter(|target| matches!(target, Target::Cgroup { .. })));
        } else {
            // A broken promise stays its giver's until it is made good, whoever names it.
            took_over = false;
        }
        if left_out > 0 {
            // The others are kept alive, but nobody may count on this host.
            let error = format!(
                "{left_out} works with a promise run here beyond the {PROMISES_MAX} that the \
                 watchdog takes"
            );
            return (named, Err(error), took_over);
        }
        (named, answer, took_over)
    }

    /// Names what an earlier session may have promised and is over: this session's own then, it
    /// ends by being left out of the next beat.
    fn take_over(&self, promises: &mut Vec<Promised>, leaving: bool) {
        for target in self.targets.to_take_back() {
            let over = Promised {
                deadline_ms: (clock::boottime() + TAKE_BACK_DUE).0,
                grace_ms: 0,
                target,
            };
            // What no beat can name, none has promised.
            if self.named.contains(&over.target) || !over.can_be_written() {
                self.targets.taken_back(&over.target);
            } else if !leaving && promises.len() < PROMISES_MAX {
                promises.push(over);
            }
        }
    }

    /// Sends one beat and reads its answer. The socket is made anew after any failure.
    async fn tell(&self, own: &mut Option<UnixDatagram>, beat: &Beat) -> Result<Answer, String> {
        let socket = match own.take() {
            Some(socket) => socket,
            None => bind(self.session).map_err(|e| format!("cannot make a socket: {e}"))?,
        };
        let answered = timeout(ANSWER_WAIT, ask(&socket, &self.socket, beat)).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(format!("no watchdog at {}: {error}", self.socket.display()));
            }
            Err(_) => {
                return Err(format!(
                    "no answer from {} within {} s",
                    self.socket.display(),
                    ANSWER_WAIT.as_secs()
                ));
            }
        };
        *own = Some(socket);
        Ok(answer)
    }

    /// Promises about something that may run, as they are ordered and as they are sent; and how
    /// many of what runs found no room. What only waits for its start has the last places.
    fn promised(&self, orders: &Orders) -> (Vec<Promise>, Vec<Promised>, usize) {
        let mut named = Vec::new();
        let mut promises = Vec::new();
        let mut left_out = 0;
        let waits = |promise: &&Promise| self.questions.is_about(promise);
        let (last, first): (Vec<_>, Vec<_>) = orders.promises.iter().partition(waits);
        for promise in first.iter().chain(&last) {
            // Without a target nothing of it runs: the promise is kept.
            let unit = UnitKey::Work(promise.work.clone());
            let Some(target) = self.targets.of(&unit) else {
                continue;
            };
            if promises.len() == PROMISES_MAX {
                left_out += usize::from(!waits(promise));
                continue;
            }
            promises.push(Promised {
                deadline_ms: promise.deadline.0,
                grace_ms: promise.grace.0,
                target,
            });
            named.push((*promise).clone());
        }
        (named, promises, left_out)
    }

    fn beat(&mut self, orders: &Orders, promises: Vec<Promised>) -> Beat {
        self.sequence += 1;
        Beat {
            session: self.session,
            sequence: self.sequence,
            sent_ms: clock::boottime().0,
            next_ms: NEXT_MS,
            leaving: orders.leaving,
            promises,
        }
    }

    async fn hear(&mut self, answer: &Result<Answer, String>, orders: &Orders) {
        let (enforcement, complaint) = match answer {
            Ok(answer) => {
                self.misses = 0;
                self.hear_device(answer).await;
                if answer.broken > 0 {
                    tracing::error!(broken = answer.broken, "the watchdog ends broken promises");
                }
                let refused = (answer.status != Status::Taken).then(|| answer.status.to_string());
                (answer.enforcement(), refused)
            }
            Err(error) => {
                self.misses += 1;
                if self.misses < MISSES_MAX && self.told.is_some() {
                    return;
                }
                (Enforcement::None, Some(error.clone()))
            }
        };
        if complaint != self.complained {
            match &complaint {
                // A host without a watchdog is no fault as long as nothing is promised.
                Some(text) if orders.promises.is_empty() => {
                    tracing::info!("nothing enforces promises: {text}");
                }
                Some(text) => tracing::warn!("nothing enforces promises: {text}"),
                None => tracing::info!(?enforcement, "the watchdog enforces promises"),
            }
            self.complained = complaint;
        }
        if self.told != Some(enforcement) {
            self.told = Some(enforcement);
            self.declared |= enforcement != Enforcement::None;
            let _agent_ends = self.inputs.send(Input::Enforcement(enforcement)).await;
        }
    }
}

impl Task {
    /// What the device says of this boot, once for each device that is asked.
    async fn hear_device(&mut self, answer: &Answer) {
        let reset = answer.device_reset();
        if answer.status == Status::Taken && self.device_reset != Some(reset) {
            self.device_reset = Some(reset);
            let _agent_ends = self.inputs.send(Input::BootStatus { reset }).await;
        }
    }
}

/// A socket with an abstract name: nothing to remove afterwards, and the answer finds it.
fn bind(session: u64) -> io::Result<UnixDatagram> {
    let number = boot::random_number()?;
    let name = format!("nodemedic-agent-{session:016x}-{number:016x}");
    let address = SocketAddr::from_abstract_name(name)?;
    let socket = StdDatagram::bind_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

/// Sends, and reads until the answer to this very beat is there.
async fn ask(socket: &UnixDatagram, to: &PathBuf, beat: &Beat) -> io::Result<Answer> {
    let bytes = beat
        .to_bytes()
        .ok_or_else(|| io::Error::other("a promise has no room in a beat"))?;
    socket.send_to(&bytes, to).await?;
    let mut answer = [0; ANSWER_MAX_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        let answer = Answer::parse(&answer[..length]).map_err(io::Error::other)?;
        let unread = answer.session == 0 && answer.status != Status::Taken;
        if unread || (answer.session, answer.sequence) == (beat.session, beat.sequence) {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests;
