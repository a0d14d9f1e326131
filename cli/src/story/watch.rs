//! Asks every place where a work could answer, all the time, and remembers what the services said.
//! This is all that the story knows about them: nothing comes from nodemedic's own state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::{Boottime, Millis};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::timeline::Unseen;
use crate::fleet::Shape;
use crate::sample::{Answer, ask};

/// Between two rounds of questions.
const ROUND_EVERY: Duration = Duration::from_millis(20);

/// What one round saw: an answer or none, by node, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When the round ended.
    pub at: Boottime,
    /// Where the exclusive work answered.
    pub ledger: BTreeMap<usize, Answer>,
    /// Where the replicated work answered.
    pub web: BTreeMap<usize, Answer>,
}

impl Seen {
    /// The only place where the exclusive work answered; `None` for none or several.
    pub fn ledger_alone(&self) -> Option<(usize, &Answer)> {
        match self.ledger.iter().next() {
            Some((node, answer)) if self.ledger.len() == 1 => Some((*node, answer)),
            _ => None,
        }
    }

    /// In words, for the report of a step that was not seen.
    pub fn words(&self) -> String {
        let places = |answers: &BTreeMap<usize, Answer>| {
            if answers.is_empty() {
                return "nowhere".to_owned();
            }
            let places: Vec<String> = answers
                .iter()
                .map(|(node, answer)| {
                    let generation = answer.generation.map_or(0, |generation| generation);
                    format!(
                        "node-{node} (process {}, generation {generation})",
                        answer.pid
                    )
                })
                .collect();
            places.join(" and ")
        };
        format!(
            "ledger answers {}; web answers {}",
            places(&self.ledger),
            places(&self.web)
        )
    }
}

/// What was seen over a stretch of time.
#[derive(Clone, Debug, Default)]
struct History {
    /// Each instance of the exclusive work that ever answered: its node, and its last answer.
    ledgers: BTreeMap<(Boottime, u32), (usize, Boottime)>,
    stretch: Stretch,
}

/// What the replicated work did between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Rounds of questions.
    pub rounds: u64,
    /// The fewest places that answered in a round.
    pub fewest: Option<usize>,
    /// The longest time between the ends of two rounds.
    pub longest_round: Millis,
}

/// The questioner.
#[derive(Debug)]
pub struct Watch {
    seen: watch::Receiver<Seen>,
    history: Arc<Mutex<History>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to ask.
    pub fn start(shape: &Shape) -> Watch {
        let (tell, seen) = watch::channel(Seen::default());
        let history = Arc::new(Mutex::new(History::default()));
        let task = tokio::spawn(rounds(shape.clone(), tell, Arc::clone(&history)));
        Watch {
            seen,
            history,
            task,
        }
    }

    /// The newest round.
    pub fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits for a round that is as `wanted`; otherwise tells what was seen last.
    pub async fn until(
        &mut self,
        within: Millis,
        expected: &str,
        mut wanted: impl FnMut(&Seen) -> bool,
    ) -> Result<Seen, Unseen> {
        let waiting = async {
            loop {
                let seen = self.seen.borrow_and_update().clone();
                if wanted(&seen) {
                    return Ok(seen);
                }
                if self.seen.changed().await.is_err() {
                    return Err(Unseen::new(expected, "the questioner ended"));
                }
            }
        };
        match tokio::time::timeout(within.to_duration(), waiting).await {
            Ok(found) => found,
            Err(_) => {
                let seen = self.now().words();
                Err(Unseen::new(expected, format!("after {within}: {seen}")))
            }
        }
    }

    /// Begins a new stretch.
    pub fn begin_stretch(&self) {
        self.with_history(|history| history.stretch = Stretch::default());
    }

    /// The stretch so far.
    pub fn stretch(&self) -> Stretch {
        self.with_history(|history| history.stretch)
    }

    /// How many instances of the exclusive work answered in all, if no two of them lived at once;
    /// otherwise who.
    pub fn ledger_never_twice(&self) -> Result<usize, Unseen> {
        self.with_history(|history| never_twice(&history.ledgers))
    }

    fn with_history<T>(&self, f: impl FnOnce(&mut History) -> T) -> T {
        // A panic elsewhere leaves plain numbers behind, which are as good as before.
        f(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Each instance lived at least from its own start to its last answer; two such spans must not
/// meet.
fn never_twice(ledgers: &BTreeMap<(Boottime, u32), (usize, Boottime)>) -> Result<usize, Unseen> {
    let mut longest: Option<(u32, usize, Boottime)> = None;
    for ((started, pid), (node, last)) in ledgers {
        if let Some((other, where_, until)) = longest
            && *started <= until
        {
            return Err(Unseen::new(
                "ledger never answers from two processes at once",
                format!(
                    "process {pid} on node-{node} had begun while process {other} on \
                     node-{where_} still answered"
                ),
            ));
        }
        if longest.is_none_or(|(_, _, until)| *last > until) {
            longest = Some((*pid, *node, *last));
        }
    }
    Ok(ledgers.len())
}

async fn rounds(shape: Shape, tell: watch::Sender<Seen>, history: Arc<Mutex<History>>) {
    let mut ticks = tokio::time::interval(ROUND_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = round(&shape).await;
        {
            let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut history, &tell.borrow(), &seen);
        }
        if tell.send(seen).is_err() {
            return;
        }
    }
}

fn note(history: &mut History, before: &Seen, seen: &Seen) {
    for (node, answer) in &seen.ledger {
        let entry = history
            .ledgers
            .entry((answer.started, answer.pid))
            .or_insert((*node, answer.now));
        entry.1 = entry.1.max(answer.now);
    }
    let stretch = &mut history.stretch;
    if stretch.rounds > 0 {
        stretch.longest_round = stretch.longest_round.max(seen.at.since(before.at));
    }
    stretch.rounds += 1;
    let answering = seen.web.len();
    stretch.fewest = Some(
        stretch
            .fewest
            .map_or(answering, |fewest| fewest.min(answering)),
    );
}

async fn round(shape: &Shape) -> Seen {
    let mut asked = tokio::task::JoinSet::new();
    for n in shape.nodes() {
        for (ledger, address) in [(true, shape.ledger(n)), (false, shape.web(n))] {
            if let Some(address) = address {
                asked.spawn(async move { (ledger, n, ask(address).await) });
            }
        }
    }
    let mut seen = Seen::default();
    while let Some(answer) = asked.join_next().await {
        if let Ok((ledger, n, Ok(answer))) = answer {
            let place = if ledger {
                &mut seen.ledger
            } else {
                &mut seen.web
            };
            place.insert(n, answer);
        }
    }
    seen.at = clock::boottime();
    seen
}

/// Asks one service again and again, as fast as it makes sense, until another process than `old`
/// answers. Gives that answer and the moment it came, in microseconds of CLOCK_BOOTTIME.
pub async fn next_process(
    address: SocketAddr,
    old: Option<u32>,
    within: Millis,
) -> Result<(Answer, u64), Unseen> {
    const ASK_EVERY: Duration = Duration::from_millis(1);
    let began = clock::boottime();
    loop {
        let seen = match ask(address).await {
            Ok(answer) if Some(answer.pid) != old => return Ok((answer, clock::boottime_us())),
            Ok(answer) => format!("process {} still answers", answer.pid),
            Err(error) => error,
        };
        if clock::boottime().since(began) >= within {
            return Err(Unseen::new(
                format!("another process answers on {address} within {within}"),
                seen,
            ));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledgers(spans: &[(u64, u64)]) -> BTreeMap<(Boottime, u32), (usize, Boottime)> {
        spans
            .iter()
            .zip(1..)
            .map(|((from, to), n)| ((Boottime(*from), n), (1, Boottime(*to))))
            .collect()
    }

    #[test]
    fn one_after_the_other_is_well_and_two_at_once_are_named() {
        assert_eq!(never_twice(&ledgers(&[(100, 200), (201, 300)])), Ok(2));
        let twice = never_twice(&ledgers(&[(100, 500), (200, 210), (300, 400)])).unwrap_err();
        assert!(
            twice
                .seen
                .contains("process 2 on node-1 had begun while process 1"),
            "{twice:?}"
        );
    }

    #[test]
    fn a_stretch_keeps_the_worst_round() {
        let answer = Answer {
            work: None,
            node: None,
            generation: None,
            pid: 1,
            started: Boottime(1),
            now: Boottime(2),
        };
        let seen = |at, nodes: &[usize]| Seen {
            at: Boottime(at),
            web: nodes.iter().map(|n| (*n, answer.clone())).collect(),
            ledger: BTreeMap::new(),
        };
        let mut history = History::default();
        note(&mut history, &Seen::default(), &seen(1000, &[1, 2]));
        note(&mut history, &seen(1000, &[1, 2]), &seen(1070, &[1]));
        note(&mut history, &seen(1070, &[1]), &seen(1090, &[1, 2, 3]));
        let worst = Stretch {
            rounds: 3,
            fewest: Some(1),
            longest_round: Millis(70),
        };
        assert_eq!(history.stretch, worst);
    }
}
