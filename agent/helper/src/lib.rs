//! The few acts that need root, as a fixed vocabulary.
//!
//! On a packaged host the agent is the user `nodemedic` and has no capability. What polkit can
//! name (start, stop, kill of an allowed unit) it asks systemd for; the rest it asks of the program
//! `nodemedic-helper`, which is this library behind a socket. An agent that is root itself, in a
//! container or in a test, calls the library. So there is one code for each act.
//!
//! Nothing here reads a command, a path or a program from a request: a request names one verb and
//! one unit or remedy, and what it may name was written by root. Why: docs/adr/0018-privileges.md.

pub mod allow;
pub mod apart;
pub mod cgroup;
pub mod deeds;
pub mod fenced;
pub mod generator;
pub mod hands;
pub mod links;
pub mod mask;
pub mod mounts;
pub mod names;
pub mod polkit;
pub mod ports;
pub mod request;
pub mod restart;
pub mod restore;
pub mod serve;
pub mod sweep;
pub mod sysfs;
pub mod systemctl;
pub mod verbs;
pub mod walk;

pub use allow::Allow;
pub use deeds::Deed;
pub use hands::{Hands, Places};
pub use ports::Port;
pub use request::{Answer, Request};

/// The user that the packaged agent is, and the only one besides root that is listened to.
pub const USER: &str = "nodemedic";

/// Where the packaged helper listens. Not in `/run/nodemedic`: that belongs to the agent, and what
/// root makes in a directory of another can be exchanged under its hands.
pub const SOCKET: &str = "/run/nodemedic-helper/helper.sock";

/// Where the packaged helper keeps what must survive a reboot.
pub const STATE: &str = "/var/lib/nodemedic-helper";

/// What the agent may touch, as root read it last from a valid configuration.
pub const ALLOWED: &str = "/run/nodemedic-helper/allowed.json";
