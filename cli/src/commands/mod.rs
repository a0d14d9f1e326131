//! The commands, one file each: ask, then print.

pub mod alerts;
pub mod brake;
pub mod confirm_down;
pub mod cordon;
pub mod diagnose;
pub mod doctor;
pub mod drain;
pub mod events;
pub mod fence;
pub mod fences;
pub mod forget;
pub mod inject;
pub mod node;
pub mod nodes;
pub mod pause;
pub mod sample;
pub mod status;
pub mod story;
pub mod tether;
pub mod top;
pub mod uncordon;
pub mod undrain;
pub mod up;
pub mod work;

use std::sync::mpsc;
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::api::Accepted;
use nodemedic_protocol::{Boottime, Millis};

use crate::args::Context;
use crate::failure::{Failure, Kind};

/// Prints what a coordinator says will happen.
fn accepted(context: &Context, accepted: &Accepted) -> Result<(), Failure> {
    if context.screen.json {
        return context.screen.json(accepted);
    }
    context.screen.say(&crate::out::clean(&accepted.message));
    Ok(())
}

/// A runtime for commands that wait for several things at once. One thread: what it starts with a
/// parent-death signal must have a parent thread that lives as long as the command.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("cannot start the event loop: {error}"),
                "is the limit of open files or threads reached? (ulimit -a)",
            )
        })
}

/// For how long one who follows bears a coordinator that does not answer: a restart takes seconds,
/// an upgrade perhaps a minute.
const BEAR_FOR: Millis = Millis::from_secs(90);

/// Between two tries at a coordinator that does not answer.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The patience of a command that follows: it bears a coordinator that is away for a while.
#[derive(Debug, Default)]
struct Patience {
    since: Option<Boottime>,
}

impl Patience {
    /// Waits a little and returns, or gives the failure back when it has lasted too long or when
    /// waiting would not help.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let now = clock::boottime();
        let since = *self.since.get_or_insert(now);
        let passes = matches!(failure.kind, Kind::Unreachable | Kind::Failed);
        if !passes || now.since(since) >= BEAR_FOR {
            return Err(failure);
        }
        // Nobody sends on this channel: it is a bounded wait that needs no runtime.
        let (_keep, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(TRY_EVERY);
        Ok(())
    }
}
