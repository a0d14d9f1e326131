//! A watchdog that does what a test wants, over the real socket, in the bytes of
//! docs/reference/watchdog-beat.md.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Takes everything.
    Taken,
    /// Does not answer beats that promise something.
    SilentToPromises,
    /// Has no room for promises.
    Refused,
    /// Has a broken promise that is not made good.
    Broken,
    /// Enforces nothing.
    DryRun,
    /// Ends.
    End,
}

struct Shared {
    mode: Mode,
    named: Option<u32>,
    held: Option<(SocketAddr, [u8; 64])>,
}

/// What is shared with its own thread, and the word that a target was named.
struct Both {
    state: Mutex<Shared>,
    named: Condvar,
}

/// The watchdog.
pub struct Played {
    _dir: Option<tempfile::TempDir>,
    path: PathBuf,
    socket: Arc<UnixDatagram>,
    shared: Arc<Both>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Played {
    fn default() -> Played {
        Played::new()
    }
}

impl Played {
    /// In a directory of its own. It takes everything at first.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn new() -> Played {
        let dir = tempfile::tempdir().unwrap();
        let mut played = Played::at(&dir.path().join("watchdog.sock"));
        played._dir = Some(dir);
        played
    }

    /// At this path.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn at(path: &Path) -> Played {
        let socket = Arc::new(UnixDatagram::bind(path).unwrap());
        let shared = Arc::new(Both {
            state: Mutex::new(Shared {
                mode: Mode::Taken,
                named: None,
                held: None,
            }),
            named: Condvar::new(),
        });
        let (its, shares) = (Arc::clone(&socket), Arc::clone(&shared));
        Played {
            _dir: None,
            path: path.to_owned(),
            socket,
            shared,
            thread: Some(std::thread::spawn(move || serve(&its, &shares))),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Takes the promise about which it was silent.
    ///
    /// # Panics
    /// When it was about none.
    pub fn release(&self) {
        let held = self.shared.state.lock().unwrap().held.take();
        let (to, answer) = held.expect("nothing waits for an answer");
        self.socket.send_to_addr(&answer, &to).unwrap();
    }

    /// From now on it answers so.
    ///
    /// # Panics
    /// When its own thread has.
    pub fn set(&self, mode: Mode) {
        self.shared.state.lock().unwrap().mode = mode;
    }

    /// The leader of the session that the newest beat with a promise named.
    ///
    /// # Panics
    /// When its own thread has.
    #[must_use]
    pub fn named(&self) -> Option<u32> {
        self.shared.state.lock().unwrap().named
    }

    /// Waits for [`Played::named`], on a thread that may block.
    ///
    /// # Panics
    /// When its own thread has.
    pub fn until_named(&self, bound: Duration) -> impl FnOnce() -> Option<u32> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let state = shared.state.lock().unwrap();
            let unnamed = |state: &mut Shared| state.named.is_none();
            let waited = shared.named.wait_timeout_while(state, bound, unnamed);
            waited.unwrap().0.named
        }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.set(Mode::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UnixDatagram, both: &Both) {
    // So that the wish to end is seen.
    let look_every = Duration::from_millis(50);
    socket.set_read_timeout(Some(look_every)).unwrap();
    let mut beat = vec![0; 64 + 512 * 32];
    loop {
        let received = socket.recv_from(&mut beat);
        let mut shared = both.state.lock().unwrap();
        if shared.mode == Mode::End {
            return;
        }
        let Ok((length, from)) = received else {
            continue;
        };
        let promises = length > 64;
        if promises {
            let leader = beat[84..88].try_into().unwrap();
            shared.named = Some(u32::from_le_bytes(leader));
            both.named.notify_all();
        }
        let (status, enforcement, broken) = match (shared.mode, promises) {
            (Mode::Refused, true) => (5, 2, 0),
            (Mode::Broken, _) => (0, 2, 1),
            (Mode::DryRun, _) => (0, 3, 0),
            _ => (0, 2, 0),
        };
        let mut answer = [0; 64];
        answer[..8].copy_from_slice(&[b'N', b'M', b'W', b'D', 2, 2, status, enforcement]);
        answer[8..24].copy_from_slice(&beat[8..24]);
        answer[24..32].copy_from_slice(&7000_u64.to_le_bytes());
        answer[44..48].copy_from_slice(&u32::to_le_bytes(broken));
        if shared.mode == Mode::SilentToPromises && promises {
            shared.held = Some((from, answer));
            continue;
        }
        // A client that went away meanwhile needs no answer.
        let _ = socket.send_to_addr(&answer, &from);
    }
}
