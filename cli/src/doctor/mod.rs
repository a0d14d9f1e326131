//! Is this host fit for nodemedic? Each group of checks is one file and one row of [`GROUPS`]: it
//! gathers facts within a deadline, and a pure function judges them. Nothing is changed, and no
//! agent needs to run.

mod agent;
mod broker;
mod certificates;
mod clock;
mod configuration;
mod kernel;
mod permissions;
pub mod place;
mod polkit;
mod report;
mod state;
mod systemd;
mod versions;
mod watchdog;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nodemedic_edge::child::{self, Spec};
use nodemedic_protocol::Millis;
use serde::Serialize;

pub use self::report::render;
use crate::failure::Failure;
use place::Place;

/// A group that has not answered by then is told so; all groups look at the same time.
const GROUP_WITHIN: Duration = Duration::from_secs(8);

/// A program that is asked something.
const ASK_WITHIN: Millis = Millis::from_secs(5);

const OUTPUT_MAX_BYTES: usize = 64 << 10;

/// What a check found, worst last; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, with a price; or it could not be seen.
    Warning,
    /// Something that is needed is not there.
    Missing,
}

impl State {
    /// Exit code of a run whose worst row this is.
    pub const fn code(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Missing => 2,
        }
    }

    /// As people read it.
    pub const fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "missing",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was checked.
    pub check: String,
    /// What was found.
    pub state: State,
    /// What was seen, in one line.
    pub seen: String,
    /// What it costs that it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// As it should be.
fn fine(check: &str, seen: impl Into<String>) -> Row {
    Row {
        check: check.to_owned(),
        state: State::Ok,
        seen: seen.into(),
        costs: None,
        remedy: None,
    }
}

/// Works, with a price.
fn warning(check: &str, seen: impl Into<String>, costs: &str, remedy: impl Into<String>) -> Row {
    Row {
        state: State::Warning,
        costs: Some(costs.to_owned()),
        remedy: Some(remedy.into()),
        ..fine(check, seen)
    }
}

/// Needed, and not there.
fn missing(check: &str, seen: impl Into<String>, costs: &str, remedy: impl Into<String>) -> Row {
    Row {
        state: State::Missing,
        ..warning(check, seen, costs, remedy)
    }
}

/// One group of checks with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub group: &'static str,
    /// Its rows.
    pub checks: Vec<Row>,
}

type Rows = Pin<Box<dyn Future<Output = Vec<Row>> + Send>>;

/// How a group looks.
type Look = fn(Arc<Place>) -> Rows;

/// All groups.
const GROUPS: [(&str, Look); 12] = [
    ("agent", |place| Box::pin(agent::look(place))),
    ("versions", |place| Box::pin(versions::look(place))),
    ("configuration", |place| {
        Box::pin(configuration::look(place))
    }),
    ("permissions", |place| Box::pin(permissions::look(place))),
    ("polkit", |place| Box::pin(polkit::look(place))),
    ("systemd", |place| Box::pin(systemd::look(place))),
    ("kernel", |place| Box::pin(kernel::look(place))),
    ("watchdog", |place| Box::pin(watchdog::look(place))),
    ("time", |place| Box::pin(clock::look(place))),
    ("broker", |place| Box::pin(broker::look(place))),
    ("certificates", |place| Box::pin(certificates::look(place))),
    ("state", |place| Box::pin(state::look(place))),
];

/// Looks at everything at once.
///
/// # Errors
/// When not even a runtime can be made.
pub fn examine(place: Place) -> Result<Vec<Group>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|e| Failure::failed(format!("cannot start the event loop: {e}")))?;
    let place = Arc::new(place);
    let groups = runtime.block_on(async {
        let looks = GROUPS.map(|(group, look)| {
            let place = Arc::clone(&place);
            (
                group,
                tokio::spawn(tokio::time::timeout(GROUP_WITHIN, look(place))),
            )
        });
        let mut groups = Vec::new();
        for (group, look) in looks {
            let checks = match look.await {
                Ok(Ok(rows)) => rows,
                Ok(Err(_)) => vec![unanswered(group)],
                Err(error) => vec![warning(
                    group,
                    format!("the check broke off: {error}"),
                    "nobody knows",
                    "report this",
                )],
            };
            groups.push(Group { group, checks });
        }
        groups
    });
    // A reader that hangs in the kernel must not hold up the answer.
    runtime.shutdown_background();
    Ok(groups)
}

fn unanswered(group: &str) -> Row {
    warning(
        group,
        format!("not answered within {} s", GROUP_WITHIN.as_secs()),
        "nobody knows how it is; what is asked here hangs, or the host is very busy",
        "see `nodemedic top` and the kernel's log, then ask again",
    )
}

/// Facts that are read from files: away from the loop, so that a deadline holds.
async fn gather<F: Send + 'static>(
    place: Arc<Place>,
    read: impl FnOnce(&Place) -> F + Send + 'static,
) -> Option<F> {
    tokio::task::spawn_blocking(move || read(&place)).await.ok()
}

/// What a program says: exit code and both outputs; or why it did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn ask(program: &str, args: &[&str]) -> Result<Said, String> {
    let finished = child::run(Spec {
        program: program.into(),
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        // What is read here must not be translated.
        env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        cwd: None,
        stdin: Vec::new(),
        timeout: ASK_WITHIN,
        output_max_bytes: OUTPUT_MAX_BYTES,
    });
    let finished = finished.await.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(Said {
        code: finished.code,
        out: text(&finished.stdout),
        err: text(&finished.stderr),
    })
}

/// `KEY=VALUE` lines of `systemctl show`.
fn properties(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// A small file; `None` when it is not there or cannot be read.
fn word(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}
