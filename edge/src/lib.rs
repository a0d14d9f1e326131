//! What more than one edge of nodemedic needs and no core may have: the clock, the MQTT link, TLS,
//! configuration files, works as people write them, durable files, bounded child processes,
//! logging.
//!
//! May depend on `protocol` only. Everything here waits with a deadline and holds a bounded amount
//! of memory; nothing here decides anything for an agent or a coordinator.

pub mod backoff;
pub mod child;
pub mod clock;
pub mod config;
pub mod files;
pub mod log;
pub mod mqtt;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod works;
