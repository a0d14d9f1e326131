//! Size and free space of filesystems, asked on helper threads, because the call hangs for as long
//! as a server or a disk does not answer, and cannot be taken back.
//!
//! One call per mount point is under way at most, and a call that hangs keeps its thread: so many
//! mounts may hang as there are threads, the rest keep their cadence. Beyond that nothing is asked
//! until one answers, and each mount says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nodemedic_edge::clock::boottime_us;

/// Most helper threads. Each costs 8 KiB of stack while it hangs; a host seldom has more mounts
/// from servers that fail independently.
pub const THREADS_MAX: usize = 8;

/// How long one call is waited for. A local filesystem answers in microseconds; one that takes
/// longer is absent this time, and its late answer serves the tick in which it is there.
pub const CALL_WAIT: Duration = Duration::from_millis(50);

/// How long all calls of one tick are waited for, so that many new hangs together still leave most
/// of a second for the rest.
pub const TICK_WAIT: Duration = Duration::from_millis(200);

/// What the threads need; the default of 2 MiB would count as address space for nothing.
const STACK_BYTES: usize = 128 << 10;

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size.
    pub total_bytes: u64,
    /// What an unprivileged user may still write.
    pub available_bytes: u64,
    /// Inodes; zero where the type has no fixed number.
    pub inodes_total: u64,
    /// Inodes unused.
    pub inodes_free: u64,
}

/// The question, as a value so that tests can hang it.
pub type Ask = dyn Fn(&str) -> Result<Space, String> + Send + Sync;

type Answer = Result<Space, String>;

/// The helper threads and what is under way.
pub struct Pool {
    ask: Arc<Ask>,
    workers: Vec<Worker>,
    answers_in: Sender<(usize, Answer)>,
    answers: Receiver<(usize, Answer)>,
    late: BTreeMap<String, Answer>,
    tick: u64,
}

#[derive(Debug)]
struct Worker {
    jobs: Sender<String>,
    /// What it was asked, and in which tick.
    busy: Option<(String, u64)>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(Arc::new(statvfs))
    }
}

impl Pool {
    /// A pool without threads; they start on demand.
    #[must_use]
    pub fn new(ask: Arc<Ask>) -> Pool {
        let (answers_in, answers) = channel();
        Pool {
            ask,
            workers: Vec::new(),
            answers_in,
            answers,
            late: BTreeMap::new(),
            tick: 0,
        }
    }

    /// Threads that exist.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Asks about each mount point in turn. A mount that hangs from an earlier tick is not waited
    /// for.
    pub fn ask_all<'m>(
        &mut self,
        mounts: impl Iterator<Item = &'m str>,
        call_wait: Duration,
    ) -> BTreeMap<String, Answer> {
        self.tick += 1;
        while let Ok((worker, answer)) = self.answers.try_recv() {
            self.settle(worker, answer);
        }
        let end = boottime_us() + as_us(TICK_WAIT.max(call_wait));
        let mut found = BTreeMap::new();
        for mount in mounts {
            let answer = match self.late.remove(mount) {
                Some(answer) => answer,
                None => self.ask_one(mount, call_wait, end),
            };
            found.insert(mount.to_owned(), answer);
        }
        // What is mounted no more needs no answer.
        self.late.clear();
        found
    }

    fn ask_one(&mut self, mount: &str, call_wait: Duration, end_us: u64) -> Answer {
        let under_way = self.workers.iter().find_map(|worker| match &worker.busy {
            Some((other, since)) if other == mount => Some(self.tick - since),
            _ => None,
        });
        if let Some(ticks) = under_way {
            return Err(format!("has not answered for {ticks} samples"));
        }
        let left_us = end_us.saturating_sub(boottime_us());
        if left_us == 0 {
            return Err("not asked this time: other filesystems took too long".to_owned());
        }
        let asked = self.send(mount)?;
        let call_end = boottime_us() + left_us.min(as_us(call_wait));
        loop {
            let left = call_end.saturating_sub(boottime_us());
            match self.answers.recv_timeout(Duration::from_micros(left)) {
                Ok((worker, answer)) if worker == asked => {
                    self.workers[worker].busy = None;
                    return answer;
                }
                Ok((worker, answer)) => self.settle(worker, answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(format!(
                        "did not answer within {} ms",
                        call_wait.as_millis()
                    ));
                }
            }
        }
    }

    fn settle(&mut self, worker: usize, answer: Answer) {
        let busy = self.workers.get_mut(worker).and_then(|w| w.busy.take());
        if let Some((mount, _)) = busy {
            self.late.insert(mount, answer);
        }
    }

    fn send(&mut self, mount: &str) -> Result<usize, String> {
        let idle = self.workers.iter().position(|worker| worker.busy.is_none());
        let worker = match idle {
            Some(worker) => worker,
            None if self.workers.len() < THREADS_MAX => self
                .start()
                .map_err(|e| format!("cannot start a helper thread: {e}"))?,
            None => return Err(format!("not asked: {THREADS_MAX} other filesystems hang")),
        };
        self.workers[worker]
            .jobs
            .send(mount.to_owned())
            .map_err(|_| "the helper thread is gone".to_owned())?;
        self.workers[worker].busy = Some((mount.to_owned(), self.tick));
        Ok(worker)
    }

    fn start(&mut self) -> std::io::Result<usize> {
        let number = self.workers.len();
        let (jobs, queue) = channel::<String>();
        let (answers, ask) = (self.answers_in.clone(), Arc::clone(&self.ask));
        std::thread::Builder::new()
            .name("statvfs".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Ends with the pool, which holds the other end.
                while let Ok(mount) = queue.recv() {
                    if answers.send((number, ask(&mount))).is_err() {
                        return;
                    }
                }
            })?;
        self.workers.push(Worker { jobs, busy: None });
        Ok(number)
    }
}

fn as_us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The system call.
fn statvfs(mount: &str) -> Result<Space, String> {
    let found = rustix::fs::statvfs(mount).map_err(|errno| format!("cannot statvfs: {errno}"))?;
    Ok(Space {
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        inodes_total: found.f_files,
        inodes_free: found.f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    const SPACE: Space = Space {
        total_bytes: 1,
        available_bytes: 1,
        inodes_total: 0,
        inodes_free: 0,
    };
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(30);

    /// Answers at once, but for mounts under /hang: those answer when the gate opens.
    fn pool() -> (Pool, Arc<(Mutex<bool>, Condvar)>) {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let inside = Arc::clone(&gate);
        let ask = move |mount: &str| {
            if mount.starts_with("/hang") {
                let open = inside.0.lock().unwrap();
                drop(inside.1.wait_while(open, |open| !*open).unwrap());
            }
            Ok(SPACE)
        };
        (Pool::new(Arc::new(ask)), gate)
    }

    fn ask(
        pool: &mut Pool,
        mounts: &[&str],
        deadline: Duration,
    ) -> BTreeMap<String, Result<Space, String>> {
        pool.ask_all(mounts.iter().copied(), deadline)
    }

    #[test]
    fn a_hung_mount_blocks_nobody_and_piles_up_nothing() {
        let (mut pool, gate) = pool();
        let found = ask(&mut pool, &["/", "/hang", "/z"], SHORT);
        assert_eq!((&found["/"], &found["/z"]), (&Ok(SPACE), &Ok(SPACE)));
        assert!(found["/hang"].as_ref().unwrap_err().contains("30 ms"));
        for tick in 1..20 {
            let found = ask(&mut pool, &["/", "/hang", "/z"], LONG);
            assert_eq!(found["/"], Ok(SPACE), "tick {tick}");
            assert_eq!(found["/z"], Ok(SPACE), "tick {tick}");
            assert!(found["/hang"].is_err());
            assert_eq!(pool.threads(), 2);
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        // It answers: within a bound it is well again.
        let well = (0..100).any(|_| ask(&mut pool, &["/", "/hang"], SHORT)["/hang"].is_ok());
        assert!(well);
        assert_eq!(pool.threads(), 2);
    }

    #[test]
    fn when_every_thread_hangs_the_rest_is_told_so() {
        let (mut pool, _gate) = pool();
        let names: Vec<String> = (0..THREADS_MAX).map(|n| format!("/hang{n}")).collect();
        // The time of a tick bounds how many new hangs it finds.
        for _ in 0..THREADS_MAX {
            let all = names.iter().map(String::as_str).chain(["/"]);
            pool.ask_all(all, SHORT);
        }
        let all = names.iter().map(String::as_str).chain(["/"]);
        let found = pool.ask_all(all, SHORT);
        assert_eq!(pool.threads(), THREADS_MAX);
        assert!(found.values().all(Result::is_err), "{found:?}");
    }

    #[test]
    fn the_real_call_answers_for_the_root() {
        let found = ask(&mut Pool::default(), &["/", "/nonexistent"], LONG);
        assert!(found["/"].as_ref().unwrap().total_bytes > 0);
        assert!(
            found["/nonexistent"]
                .as_ref()
                .unwrap_err()
                .contains("cannot statvfs")
        );
    }
}
