//! What to say when a port cannot be had: who else could be there, and which key to change.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

/// One or two sentences that help somebody who sees the port refused.
#[must_use]
pub fn remedy(cause: &Error, address: SocketAddr, key: &str) -> String {
    let port = address.port();
    match cause.kind() {
        ErrorKind::AddrInUse => format!(
            "Another program has the port: another nodemedic-coordinator, {}. `ss -ltnp 'sport = \
             :{port}'` names it. Stop it, or set {key} to another port",
            usual_owner(port)
        ),
        ErrorKind::PermissionDenied => {
            format!("Ports below 1024 need a privilege. Set {key} to a higher port")
        }
        ErrorKind::AddrNotAvailable => format!(
            "This host has no such address; `ip address` lists what it has. Set {key} to one of \
             them"
        ),
        _ => format!("Set {key} to an address of this host"),
    }
}

fn usual_owner(port: u16) -> &'static str {
    match port {
        1883 | 8883 => "or a broker such as mosquitto",
        _ => "or a service that was there first",
    }
}
