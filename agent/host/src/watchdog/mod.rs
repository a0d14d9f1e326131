//! The client of the watchdog: tells it what was promised, and hears how promises are enforced.
//!
//! A task of its own sends a beat every second, and at once when a promise or its target changes.
//! No answer, a refusal, or a promise that has no room means that nothing is enforced: the core is
//! told and says so to the coordinator.

pub mod beat;
pub mod confirm;
pub mod last_words;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::PathBuf;
use std::time::Duration;

use nodemedic_agent_core::{Input, Promise, UnitKey};
use nodemedic_edge::clock;
use nodemedic_protocol::work::Enforcement;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::beat::{Answer, Beat, PROMISES_MAX, Promised, Status};
use self::confirm::{Exchanged, Questions};
use crate::boot;
use crate::manager::target::Targets;

/// Between two beats when nothing changes.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What is told to the watchdog as the latest moment of the next beat: three may be late before it
/// has a reason to speak of silence.
const NEXT_MS: u64 = 3_000;

/// An answer comes at once or not at all.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// While a start waits for the watchdog, so long between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(100);

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
}

impl Task {
    async fn run(mut self) {
        let mut own = None;
        loop {
            self.questions.take_up();
            let orders = self.orders.borrow_and_update().clone();
            let (named, answer) = self.exchange(&mut own, &orders).await;
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
            let wait = if self.questions.is_waiting() {
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

    /// One beat with what it named, and its answer.
    async fn exchange(
        &mut self,
        own: &mut Option<UnixDatagram>,
        orders: &Orders,
    ) -> (Vec<Promise>, Result<Answer, String>) {
        let (named, promises, left_out) = self.promised(orders);
        let beat = self.beat(orders, promises);
        let answer = self.tell(own, &beat).await;
        if left_out > 0 {
            // The others are kept alive, but nobody may count on this host.
            let error = format!(
                "{left_out} works with a promise run here beyond the {PROMISES_MAX} that the \
                 watchdog takes"
            );
            return (named, Err(error));
        }
        (named, answer)
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
mod tests {
    use super::*;
    use crate::manager::target::Target;
    use nodemedic_protocol::{Boottime, Generation, Millis, WorkName};

    const BOUND: Duration = Duration::from_secs(20);

    /// Answers as the reference says, and gives back each beat.
    struct Fake {
        socket: UnixDatagram,
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    impl Fake {
        fn new() -> Fake {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("watchdog.sock");
            Fake {
                socket: UnixDatagram::bind(&path).unwrap(),
                _dir: dir,
                path,
            }
        }

        async fn answer(&self, status: u8) -> Vec<u8> {
            let mut beat = vec![0; 64 + 512 * 32];
            let (length, from) = timeout(BOUND, self.socket.recv_from(&mut beat))
                .await
                .unwrap()
                .unwrap();
            beat.truncate(length);
            let mut answer = vec![0; 64];
            answer[..8].copy_from_slice(&[b'N', b'M', b'W', b'D', 2, 2, status, 2]);
            answer[8..24].copy_from_slice(&beat[8..24]);
            answer[24..32].copy_from_slice(&7000_u64.to_le_bytes());
            let from: SocketAddr = from.into();
            let name = from.as_abstract_name().unwrap();
            let to = rustix::net::SocketAddrUnix::new_abstract_name(name).unwrap();
            rustix::net::sendto(&self.socket, &answer, rustix::net::SendFlags::empty(), &to)
                .unwrap();
            beat
        }
    }

    async fn enforcement(inputs: &mut mpsc::Receiver<Input>) -> Enforcement {
        loop {
            match timeout(BOUND, inputs.recv()).await.unwrap() {
                Some(Input::Enforcement(enforcement)) => return enforcement,
                Some(Input::BootStatus { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn promise() -> Promise {
        Promise {
            work: WorkName::new("db").unwrap(),
            generation: Generation(7),
            deadline: Boottime(21_000),
            grace: Millis(10_000),
        }
    }

    #[tokio::test]
    async fn enforcement_is_what_the_watchdog_says_and_none_when_it_is_silent() {
        let fake = Fake::new();
        let (outbox, mut inputs) = mpsc::channel(8);
        let client = WatchdogClient::start(
            fake.path.clone(),
            Targets::default(),
            confirm::questions().1,
            outbox,
        )
        .unwrap();
        fake.answer(0).await;
        let timeout = Millis(7000);
        assert_eq!(
            enforcement(&mut inputs).await,
            Enforcement::Software { timeout }
        );
        drop(fake);
        assert_eq!(enforcement(&mut inputs).await, Enforcement::None);
        drop(client);
    }

    #[tokio::test]
    async fn a_refusal_enforces_nothing() {
        let fake = Fake::new();
        let (outbox, mut inputs) = mpsc::channel(8);
        let _client = WatchdogClient::start(
            fake.path.clone(),
            Targets::default(),
            confirm::questions().1,
            outbox,
        )
        .unwrap();
        fake.answer(3).await;
        assert_eq!(enforcement(&mut inputs).await, Enforcement::None);
    }

    #[tokio::test]
    async fn a_promise_is_sent_with_its_target_as_soon_as_there_is_one() {
        let fake = Fake::new();
        let (outbox, _inputs) = mpsc::channel(8);
        let targets = Targets::default();
        let client = WatchdogClient::start(
            fake.path.clone(),
            targets.clone(),
            confirm::questions().1,
            outbox,
        )
        .unwrap();
        client.promise(vec![promise()]);
        // Nothing of it runs yet: there is nothing to kill.
        let first = fake.answer(0).await;
        assert_eq!(first.len(), 64);
        let target = Target::Session {
            leader: 4242,
            start_ticks: 9,
        };
        targets.set(&UnitKey::Work(promise().work), target);
        let beat = loop {
            let beat = fake.answer(0).await;
            if beat.len() > 64 {
                break beat;
            }
        };
        assert_eq!(beat[64..72], 21_000_u64.to_le_bytes());
        assert_eq!(beat[84..88], 4242_u32.to_le_bytes());
        let leaving = tokio::spawn(client.leave(BOUND));
        while fake.answer(0).await[40] != 1 {}
        leaving.await.unwrap();
    }
}
