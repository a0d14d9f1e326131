//! sd_notify(3) in three lines: no library, because the protocol is one datagram.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, where there is one.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    every_ms: Option<u64>,
}

impl Notify {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Notify {
        let var = |name| std::env::var(name).ok();
        let address = var("NOTIFY_SOCKET").and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = UnixDatagram::unbound()
            .ok()
            .filter(|s| s.set_nonblocking(true).is_ok());
        let for_us = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let usec = var("WATCHDOG_USEC").and_then(|usec| usec.parse::<u64>().ok());
        Notify {
            to: socket.zip(address),
            // Half of it, as sd_watchdog_enabled(3) advises.
            every_ms: usec.filter(|_| for_us).map(|usec| (usec / 2000).max(1)),
        }
    }

    /// Tells the service manager; without one this does nothing.
    pub fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.to {
            // A manager that does not read will act by its own timeout.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }

    /// How often it wants to hear `WATCHDOG=1`.
    #[must_use]
    pub const fn every_ms(&self) -> Option<u64> {
        self.every_ms
    }
}
