//! The question that stands before each start of exclusive work: has the watchdog taken the promise
//! for just this process or cgroup?
//!
//! The client of the watchdog answers it, because it alone knows what the newest answer was and
//! what was ever said to the core: so no start can slip through between the two.

use nodemedic_agent_core::{GatePromise, Promise};
use nodemedic_edge::clock;
use nodemedic_protocol::{Boottime, Generation, Millis, WorkName};
use tokio::sync::{mpsc, oneshot};

/// A watchdog answers within milliseconds; one that was killed is back within a second. Longer
/// than that the ladder had better try again, visibly.
const CONFIRM_WAIT: Millis = Millis::from_secs(3);

/// Questions that the client has not read. A unit asks one at a time, and a host holds at most 32
/// works with a promise; those beyond wait.
const QUESTIONS_MAX: usize = 64;

/// Asks.
#[derive(Clone, Debug)]
pub struct Confirmer(mpsc::Sender<Question>);

/// Where the client reads the questions.
#[derive(Debug)]
pub struct Questions {
    unread: mpsc::Receiver<Question>,
    waiting: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    work: WorkName,
    generation: Generation,
    promise: GatePromise,
    until: Boottime,
    answer: oneshot::Sender<Result<Option<Boottime>, String>>,
}

/// What the newest exchange with the watchdog says to those who wait.
#[derive(Debug)]
pub enum Exchanged<'a> {
    /// It took a beat, and enforces what that named.
    Enforced {
        /// Works with something to kill, as that beat named them.
        named: &'a [Promise],
        /// Broken promises that are not made good yet: then nothing begins.
        broken: u32,
    },
    /// Nobody enforces anything: why.
    Nobody(String),
}

/// Both ends.
#[must_use]
pub fn questions() -> (Confirmer, Questions) {
    let (asks, unread) = mpsc::channel(QUESTIONS_MAX);
    let questions = Questions {
        unread,
        waiting: Vec::new(),
    };
    (Confirmer(asks), questions)
}

impl Confirmer {
    /// Waits until the watchdog has taken the promise of this grant for what runs of the work now,
    /// which was set as its target before. Gives the deadline that it took; `None` when nobody
    /// enforces promises here and nobody counts on it.
    ///
    /// # Errors
    /// Why it must not start.
    pub async fn confirm(
        &self,
        work: &WorkName,
        generation: Generation,
        promise: GatePromise,
    ) -> Result<Option<Boottime>, String> {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            work: work.clone(),
            generation,
            promise,
            until: clock::boottime() + CONFIRM_WAIT,
            answer,
        };
        let gone = || "the client of the watchdog has ended".to_owned();
        self.0.send(question).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Questions {
    /// Waits for the next question. Safe to be dropped.
    pub(super) async fn next(&mut self) -> bool {
        match self.unread.recv().await {
            Some(question) => {
                self.waiting.push(question);
                true
            }
            // Nobody asks any more: the rest of the client goes on.
            None => std::future::pending().await,
        }
    }

    /// Takes up what was asked meanwhile. To be called before the orders for a beat are read: the
    /// promise behind a question is among them then.
    pub(super) fn take_up(&mut self) {
        while let Ok(question) = self.unread.try_recv() {
            self.waiting.push(question);
        }
        self.waiting.retain(|question| !question.answer.is_closed());
    }

    /// Whether this promise is only asked for: nothing runs under it yet.
    pub(super) fn is_about(&self, promise: &Promise) -> bool {
        self.waiting.iter().any(|question| question.is_of(promise))
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Answers all that can be answered by this. `declared` says whether the core was ever told
    /// that promises are enforced; `orders` is what was promised when the beat was made.
    pub(super) fn answer(&mut self, result: &Exchanged<'_>, orders: &[Promise], declared: bool) {
        let now = clock::boottime();
        for question in std::mem::take(&mut self.waiting) {
            match question.judge(result, orders, declared, now) {
                // One that does not wait any more needs no answer.
                Some(answer) => drop(question.answer.send(answer)),
                None => self.waiting.push(question),
            }
        }
    }
}

impl Question {
    fn is_of(&self, promise: &Promise) -> bool {
        promise.work == self.work && promise.generation == self.generation
    }

    fn judge(
        &self,
        result: &Exchanged<'_>,
        orders: &[Promise],
        declared: bool,
        now: Boottime,
    ) -> Option<Result<Option<Boottime>, String>> {
        if !orders.iter().any(|promise| self.is_of(promise)) {
            return Some(Err("its lease is no longer held".to_owned()));
        }
        let why = match result {
            Exchanged::Enforced { named, broken } => {
                let named = named.iter().find(|promise| self.is_of(promise));
                match (named, broken) {
                    (Some(promise), 0) => return Some(Ok(Some(promise.deadline))),
                    (None, _) => "the watchdog was not told of it yet".to_owned(),
                    (_, broken) => format!(
                        "the watchdog is still ending what {broken} broken promises were about"
                    ),
                }
            }
            Exchanged::Nobody(_) if self.promise == GatePromise::IfEnforced && !declared => {
                return Some(Ok(None));
            }
            Exchanged::Nobody(why) => why.clone(),
        };
        (now >= self.until).then(|| {
            Err(format!(
                "no watchdog took its promise within {CONFIRM_WAIT}: {why}"
            ))
        })
    }
}
