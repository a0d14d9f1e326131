//! What does the acts: looks whether one is allowed, does it, and says so in the log, every time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use crate::allow::Allow;
use crate::request::{Answer, Request};
use crate::verbs;

/// All of an act together. Each part has a limit of its own; this one is for what they add up to.
const ACT_LIMIT: Millis = Millis::from_secs(25);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// What must survive a reboot: the list of what is kept out.
    pub state: PathBuf,
    /// Where units are masked at run time.
    pub units: PathBuf,
    /// Where cgroups are.
    pub cgroups: PathBuf,
    /// Where devices and drivers are.
    pub sys: PathBuf,
    /// Set where what must see the host's own mounts is done by a unit of its own: the answers
    /// are there.
    pub apart: Option<PathBuf>,
    /// The program `systemctl`.
    pub systemctl: PathBuf,
    /// The program `nft`.
    pub nft: PathBuf,
}

impl Places {
    /// Those of a host, with the list in `state`.
    #[must_use]
    pub fn of_host(state: PathBuf) -> Places {
        Places {
            state,
            units: "/run/systemd/system.control".into(),
            cgroups: "/sys/fs/cgroup".into(),
            sys: "/sys".into(),
            apart: None,
            systemctl: "systemctl".into(),
            nft: "nft".into(),
        }
    }
}

/// Whose word says what may be touched.
pub enum Allowed {
    /// What root wrote down; read anew for each act.
    File(PathBuf),
    /// The caller is root itself, and says it.
    Given(Mutex<Allow>),
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::File(path) => write!(f, "File({})", path.display()),
            Allowed::Given(_) => f.write_str("Given"),
        }
    }
}

/// The acts.
#[derive(Debug)]
pub struct Hands {
    /// Where things are.
    pub places: Places,
    allowed: Allowed,
    /// One act at a time: each changes the list, or asks systemd to reload.
    turn: Turn<()>,
}

impl Hands {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(places: Places, allowed: Allowed) -> Hands {
        Hands {
            places,
            allowed,
            turn: Turn::new(()),
        }
    }

    /// From now on this may be touched; for a caller that is root itself.
    pub fn allow(&self, allow: Allow) {
        if let Allowed::Given(given) = &self.allowed {
            *given.lock().unwrap_or_else(PoisonError::into_inner) = allow;
        }
    }

    /// What may be touched now.
    ///
    /// # Errors
    /// When what root wrote down cannot be read.
    pub fn allowed(&self) -> Result<Allow, String> {
        match &self.allowed {
            Allowed::File(path) => Allow::load(path),
            Allowed::Given(given) => {
                Ok(given.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
        }
    }

    /// Does it, if it may be done.
    pub async fn act(&self, request: &Request) -> Answer {
        let began = clock::boottime();
        let answer = match self.allowed().and_then(|allow| verbs::may(&allow, request)) {
            Err(why) => Answer::Refused(why),
            Ok(warrant) => {
                let _turn = self.turn.lock().await;
                let act = timeout(ACT_LIMIT.to_duration(), verbs::act(self, &warrant, request));
                match act.await {
                    Ok(Ok(text)) => Answer::Done(text),
                    Ok(Err(error)) => Answer::Failed(error),
                    Err(_) => Answer::Failed(format!("{request} took more than {ACT_LIMIT}")),
                }
            }
        };
        let took = clock::boottime().since(began);
        match &answer {
            Answer::Done(text) => tracing::info!(%request, %took, "done: {text}"),
            Answer::Refused(text) => tracing::error!(%request, %took, "refused: {text}"),
            Answer::Failed(text) => tracing::error!(%request, %took, "failed: {text}"),
        }
        answer
    }
}
