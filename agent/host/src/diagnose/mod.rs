//! Diagnostics before destruction: what is to be seen of a unit is written down before the unit is
//! killed or fenced, and never holds that up for longer than [`BOUND`].
//!
//! [`SECTIONS`] is the table of what is looked at, one file each. A section that is not there in
//! time, or that this agent may not read, says so. The environment of processes and their arguments
//! are never taken: they hold secrets.

mod cgroup;
mod files;
mod journal;
mod kernel;
mod pressure;
mod probe;
mod processes;
mod shelf;
mod stacks;
mod top;
mod unit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use nodemedic_agent_core::{Input, UnitKey};
use nodemedic_edge::clock;
use nodemedic_protocol::diagnose::{Bundle, Section, VERSION};
use nodemedic_protocol::event::{EventKind, Verb};
use nodemedic_protocol::work::{ProbeSpec, Run};
use nodemedic_protocol::{BootId, Boottime, Millis};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

pub use self::shelf::Shelf;
use crate::boot;
use crate::manager::systemd::Bus;
use crate::manager::target::Target;

/// A destructive act waits at most so long for its bundle; what is not there by then is left out.
/// Long enough for systemd and the journal on a busy host, short beside any stop grace.
pub const BOUND: Millis = Millis::from_secs(2);

/// Bundles that are taken at the same time. More would be a storm of failures, in which the looking
/// itself is a load; those are acted on without a bundle, and the log says so.
const AT_ONCE: usize = 4;

/// Readers that may hang in the kernel, all bundles together. Each is a thread.
const READERS_MAX: usize = 16;

/// The same act on the same unit is written down at most this often: when a fence is tried again
/// and again, the first bundle tells most, and must not be pushed out.
const AGAIN_AFTER: Millis = Millis::from_secs(600);

/// Longest text of one section.
const SECTION_MAX_BYTES: usize = 64 << 10;

/// What a bundle is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Which unit.
    pub key: UnitKey,
    /// How it runs.
    pub run: Run,
    /// How it is seen to work.
    pub probes: Vec<ProbeSpec>,
    /// What runs of it.
    pub target: Option<Target>,
    /// Its whole name under systemd.
    pub unit_name: Option<String>,
    /// Where its output goes when it is a command.
    pub log: PathBuf,
}

/// What a section may use.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub subject: Arc<Subject>,
    pub bus: Arc<Bus>,
    pub cgroup_root: PathBuf,
    /// For children: a little before the bundle's own end.
    pub within: Millis,
    readers: Arc<Semaphore>,
}

/// A section as it was read: its text, and what is missing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub text: String,
    pub missing: Option<String>,
}

impl From<String> for Found {
    fn from(text: String) -> Found {
        Found {
            text,
            missing: None,
        }
    }
}

type Read = fn(Look) -> BoxFuture<'static, Result<Found, String>>;

/// One row of the table.
struct Row {
    name: &'static str,
    title: &'static str,
    read: Read,
}

const fn row(name: &'static str, title: &'static str, read: Read) -> Row {
    Row { name, title, read }
}

/// All that is looked at, in the order of reading.
const SECTIONS: [Row; 10] = [
    row("unit", "What its manager says", |look| {
        unit::read(look).boxed()
    }),
    row("probe", "What its probe says now", |look| {
        probe::read(look).boxed()
    }),
    row("cgroup", "Its group and what it uses", |look| {
        look.blocking(cgroup::read).boxed()
    }),
    row("processes", "Its processes", |look| {
        look.blocking(processes::read).boxed()
    }),
    row("stacks", "Tasks that hang in the kernel", |look| {
        look.blocking(stacks::read).boxed()
    }),
    row("files", "Its open files", |look| {
        look.blocking(files::read).boxed()
    }),
    row("journal", "The last lines that it wrote", |look| {
        journal::read(look).boxed()
    }),
    row("top", "What the host is busy with", |look| {
        top::read(look).boxed()
    }),
    row(
        "pressure",
        "Load, memory and pressure of the host",
        |look| look.blocking(pressure::read).boxed(),
    ),
    row("kernel", "The last lines of the kernel", |look| {
        look.blocking(kernel::read).boxed()
    }),
];

impl Look {
    /// Runs what reads /proc away from the event loop. A reader that hangs keeps its place until it
    /// ends, so that a host whose reads all hang does not fill up with threads.
    async fn blocking(
        self,
        read: impl FnOnce(&Look) -> Result<Found, String> + Send + 'static,
    ) -> Result<Found, String> {
        let readers = Arc::clone(&self.readers);
        let Ok(place) = readers.try_acquire_owned() else {
            return Err(format!("{READERS_MAX} earlier readers hang"));
        };
        let job = move || {
            let _place: OwnedSemaphorePermit = place;
            read(&self)
        };
        let done = tokio::task::spawn_blocking(job).await;
        done.unwrap_or_else(|error| Err(format!("its reader broke off: {error}")))
    }
}

/// Takes bundles and keeps them.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    bus: Arc<Bus>,
    cgroup_root: PathBuf,
    boot_id: BootId,
    shelf: Arc<Shelf>,
    inputs: mpsc::Sender<Input>,
    slots: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    last: Arc<Mutex<BTreeMap<(UnitKey, Verb), Boottime>>>,
}

impl Diagnostics {
    /// Keeps bundles on this shelf; each is told to `inputs`.
    #[must_use]
    pub fn new(
        bus: Arc<Bus>,
        cgroup_root: PathBuf,
        boot_id: BootId,
        shelf: Shelf,
        inputs: mpsc::Sender<Input>,
    ) -> Diagnostics {
        Diagnostics {
            bus,
            cgroup_root,
            boot_id,
            shelf: Arc::new(shelf),
            inputs,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            last: Arc::default(),
        }
    }

    /// What is kept.
    #[must_use]
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Takes a bundle before a destructive act. Comes back within [`BOUND`], and at once for any
    /// other act; the disk is written to afterwards. May be dropped at any time.
    pub async fn before(&self, verb: Verb, subject: impl FnOnce() -> Subject) {
        if !destroys(verb) {
            return;
        }
        let subject = subject();
        let of = (subject.key.clone(), verb);
        if self.was_just_taken(&of) {
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!(
                "{verb} {} without diagnostics: {AT_ONCE} are being taken",
                subject.key
            );
            return;
        };
        let bundle = self.look(subject, verb.to_string()).await;
        self.taken(of, bundle.at);
        let this = self.clone();
        tokio::spawn(async move {
            this.keep(bundle).await;
            drop(slot);
        });
    }

    /// Takes one because a person asks for it, keeps it and gives it.
    ///
    /// # Errors
    /// When too many are being taken.
    pub async fn take(&self, subject: Subject) -> Result<Bundle, String> {
        let Ok(_slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Err(format!("{AT_ONCE} bundles are being taken: ask again"));
        };
        let why = "asked for by a person".to_owned();
        let bundle = self.look(subject, why).await;
        Ok(self.keep(bundle).await)
    }

    fn was_just_taken(&self, of: &(UnitKey, Verb)) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::boottime();
        last.get(of).is_some_and(|at| now.since(*at) < AGAIN_AFTER)
    }

    fn taken(&self, of: (UnitKey, Verb), at: Boottime) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, before| at.since(*before) < AGAIN_AFTER);
        last.insert(of, at);
    }

    /// Looks at everything at once; each section has until the common end.
    async fn look(&self, subject: Subject, why: String) -> Bundle {
        let began = clock::now();
        let component = subject.key.component();
        let look = Look {
            subject: Arc::new(subject),
            bus: Arc::clone(&self.bus),
            cgroup_root: self.cgroup_root.clone(),
            within: Millis(BOUND.0 - BOUND.0 / 10),
            readers: Arc::clone(&self.readers),
        };
        let sections = SECTIONS.iter().map(|row| section(row, look.clone()));
        let sections = join_all(sections).await;
        Bundle {
            version: VERSION,
            name: String::new(),
            component,
            why,
            host: boot::hostname(),
            boot_id: self.boot_id.clone(),
            at: began.boot,
            wall: began.wall,
            took: clock::boottime().since(began.boot),
            sections,
        }
    }

    async fn keep(&self, mut bundle: Bundle) -> Bundle {
        let shelf = Arc::clone(&self.shelf);
        let kept = bundle.clone();
        let kept = tokio::task::spawn_blocking(move || shelf.put(kept)).await;
        match kept.unwrap_or_else(|error| Err(format!("its writer broke off: {error}"))) {
            Ok(name) => bundle.name = name,
            Err(error) => {
                tracing::error!("diagnostics of {} are lost: {error}", bundle.component);
                return bundle;
            }
        }
        let noted = Input::Noted {
            component: bundle.component.clone(),
            kind: EventKind::BundleTaken {
                name: bundle.name.clone(),
                why: bundle.why.clone(),
                left_out: bundle.left_out(),
            },
        };
        let _agent_ends = self.inputs.send(noted).await;
        bundle
    }
}

/// Whether an act destroys what a person would want to look at.
const fn destroys(verb: Verb) -> bool {
    matches!(verb, Verb::Kill | Verb::Fence)
}

async fn section(row: &'static Row, look: Look) -> Section {
    let bound: Duration = BOUND.to_duration();
    let read = timeout(bound, (row.read)(look)).await;
    let found = match read {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => Found {
            text: String::new(),
            missing: Some(why),
        },
        Err(_) => Found {
            text: String::new(),
            missing: Some(format!("not there within {BOUND}")),
        },
    };
    let (text, cut) = tail(found.text, SECTION_MAX_BYTES);
    Section {
        name: row.name.to_owned(),
        title: row.title.to_owned(),
        text,
        left_out: found.missing.or(cut),
    }
}

/// The end of a text, where the newest is, and a word about what was cut.
fn tail(text: String, max: usize) -> (String, Option<String>) {
    if text.len() <= max {
        return (text, None);
    }
    let mut at = text.len() - max;
    while !text.is_char_boundary(at) {
        at += 1;
    }
    let kept = text.get(at..).unwrap_or_default();
    // From a whole line on.
    let kept = kept.split_once('\n').map_or(kept, |(_, rest)| rest);
    let word = format!("only the last {} of {} bytes", kept.len(), text.len());
    (kept.to_owned(), Some(word))
}

#[cfg(test)]
mod tests;
