//! What the checks share: where the configuration is and what it says in so far as it can be read,
//! and the agent that runs, if one does.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nodemedic_edge::config;
use nodemedic_protocol::local::LocalStatus;
use serde::Deserialize;

use crate::local;

/// Where programs of the packages are, when they are not beside this one.
const PROGRAMS: [&str; 2] = ["/usr/sbin", "/usr/bin"];

/// The host as far as all checks need it.
#[derive(Debug)]
pub struct Place {
    /// The agent's configuration.
    pub config_path: PathBuf,
    /// What of it concerns the checks; or why it cannot be read.
    pub config: Result<Wanted, String>,
    /// The agent that answers on its local socket.
    pub agent: Result<Running, String>,
}

/// An agent that runs.
#[derive(Debug)]
pub struct Running {
    /// What it says.
    pub status: Box<LocalStatus>,
    /// Its process and user.
    pub process: Option<(i32, u32)>,
}

/// What of the configuration concerns the checks. The agent itself judges the whole of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Name in the fleet.
    pub node: Option<String>,
    /// How to reach the coordinator.
    pub broker: Option<WantedBroker>,
    /// Directories.
    pub paths: WantedPaths,
}

/// `[broker]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WantedBroker {
    /// Its address.
    pub url: String,
    /// The authority.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// `[paths]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WantedPaths {
    /// Survives a reboot.
    pub state: Option<PathBuf>,
    /// Is empty after a reboot.
    pub run: Option<PathBuf>,
    /// The watchdog's socket.
    pub watchdog: Option<PathBuf>,
}

impl Place {
    /// Looks at what is here.
    pub fn look(config_path: &Path, socket: &Path) -> Place {
        let more = config_path.with_extension("d");
        let config = config::load::<Wanted>(config_path, Some(&more));
        let status = local::status(socket).map_err(|failure| failure.to_string());
        Place {
            config_path: config_path.to_owned(),
            config: config.map_err(|error| error.to_string()),
            agent: status.map(|status| Running {
                status,
                process: peer(socket),
            }),
        }
    }

    /// What is wanted; defaults where the configuration cannot be read.
    pub fn wanted(&self) -> Wanted {
        self.config.clone().unwrap_or_default()
    }

    /// Durable state.
    pub fn state(&self) -> PathBuf {
        let state = self.wanted().paths.state;
        state.unwrap_or_else(|| "/var/lib/nodemedic".into())
    }

    /// Run-time state.
    pub fn run(&self) -> PathBuf {
        let run = self.wanted().paths.run;
        run.unwrap_or_else(|| "/run/nodemedic".into())
    }

    /// The agent's user, when it runs.
    pub fn agent_uid(&self) -> Option<u32> {
        let (_, uid) = self.agent.as_ref().ok()?.process?;
        Some(uid)
    }
}

/// Who listens there.
fn peer(socket: &Path) -> Option<(i32, u32)> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = getsockopt(&stream, PeerCredentials).ok()?;
    Some((peer.pid(), peer.uid()))
}

/// A program of ours: beside this one, or where packages put it.
pub fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let places = beside.into_iter().chain(PROGRAMS.map(PathBuf::from));
    places.map(|dir| dir.join(name)).find(|path| path.is_file())
}
