//! The verbs: one file each, and a row in each of the two tables below.

mod bounce;
mod clean;
mod fence;
mod kill;
mod rebind;
mod reboot;
mod remount;
mod unfence;

use std::collections::BTreeSet;

use crate::allow::Allow;
use crate::apart;
use crate::deeds::Deed;
use crate::hands::Hands;
use crate::ports::Port;
use crate::request::Request;

pub use unfence::lift;

/// The one remedy that reboots.
pub const REBOOT: &str = "reboot";

/// What the allow list adds to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warrant {
    /// The ports of the service.
    pub ports: BTreeSet<Port>,
    /// What the remedy does.
    pub deed: Option<Deed>,
}

/// Whether it may be done.
///
/// # Errors
/// Why not, and what to change if it should.
pub fn may(allow: &Allow, request: &Request) -> Result<Warrant, String> {
    match request {
        Request::Fence { unit } => fence::may(allow, unit),
        Request::Unfence { unit } => unfence::may(allow, unit),
        Request::Kill { unit, cgroup } => kill::may(allow, unit, cgroup),
        Request::Clean { remedy, .. } => declared(allow, remedy, |d| matches!(d, Deed::Clean(_))),
        Request::Remount { remedy } => declared(allow, remedy, |d| matches!(d, Deed::Remount(_))),
        Request::Bounce { remedy } => declared(allow, remedy, |d| matches!(d, Deed::Bounce(_))),
        Request::Rebind { remedy } => declared(allow, remedy, |d| matches!(d, Deed::Rebind(_))),
        Request::Reboot {} => declared(allow, REBOOT, |deed| *deed == Deed::Reboot),
    }
}

/// Does what may be done.
///
/// # Errors
/// Why it could not be done, or not be proved.
pub async fn act(hands: &Hands, warrant: &Warrant, request: &Request) -> Result<String, String> {
    match request {
        Request::Fence { unit } => fence::act(hands, warrant, unit).await,
        Request::Unfence { unit } => unfence::act(hands, unit).await,
        Request::Kill { cgroup, .. } => kill::act(hands, cgroup).await,
        Request::Reboot {} => reboot::act(hands).await,
        Request::Bounce { .. } => remedy(hands, warrant, false).await,
        Request::Clean { remedy: name, .. }
        | Request::Remount { remedy: name }
        | Request::Rebind { remedy: name } => {
            let dry_run = matches!(request, Request::Clean { dry_run: true, .. });
            match hands.places.apart.as_deref().filter(|_| !dry_run) {
                Some(answers) => apart::ask(&hands.places.systemctl, answers, name).await,
                None => remedy(hands, warrant, dry_run).await,
            }
        }
    }
}

/// The request that has a remedy done, for who asks for it by its name.
///
/// # Errors
/// When there is none, or it is for another way.
pub fn request_of(allow: &Allow, name: &str, dry_run: bool) -> Result<Request, String> {
    let remedy = name.to_owned();
    match allow.remedies.get(name) {
        Some(Deed::Clean(_)) => Ok(Request::Clean { remedy, dry_run }),
        Some(deed) if dry_run => Err(format!("it would {deed}; only a clean-up can be tried dry")),
        Some(Deed::Remount(_)) => Ok(Request::Remount { remedy }),
        Some(Deed::Bounce(_)) => Ok(Request::Bounce { remedy }),
        Some(Deed::Rebind(_)) => Ok(Request::Rebind { remedy }),
        Some(deed @ (Deed::Restart(_) | Deed::Reboot)) => Err(format!("do that by hand: {deed}")),
        None => Err(format!("the agent's configuration has no remedy {name}")),
    }
}

async fn remedy(hands: &Hands, warrant: &Warrant, dry_run: bool) -> Result<String, String> {
    match &warrant.deed {
        Some(Deed::Clean(clean)) => clean::act(clean, dry_run).await,
        Some(Deed::Remount(place)) => remount::act(place).await,
        Some(Deed::Bounce(bounce)) => bounce::act(bounce).await,
        Some(Deed::Rebind(rebind)) => rebind::act(hands, rebind).await,
        Some(Deed::Restart(_) | Deed::Reboot) | None => Err("there is no such verb".to_owned()),
    }
}

/// The remedy of that name, if it does what is asked.
fn declared(allow: &Allow, name: &str, is: impl Fn(&Deed) -> bool) -> Result<Warrant, String> {
    let deed = allow.remedies.get(name).filter(|deed| is(deed)).cloned();
    match deed {
        Some(_) => Ok(Warrant {
            deed,
            ..Warrant::default()
        }),
        None => Err(format!(
            "the agent's configuration has no remedy {name} that does this: declare \
             [remedy.{name}] there, then systemctl reload nodemedic-agent"
        )),
    }
}

/// What may wait for a disk or a driver waits on a thread of its own.
async fn blocking(
    act: impl FnOnce() -> Result<String, String> + Send + 'static,
) -> Result<String, String> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|error| error.to_string())?
}
