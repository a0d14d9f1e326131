//! What every edge of nodemedic needs and no core may have: the clock, the MQTT link, TLS,
//! configuration files, durable files, bounded child processes, logging.
//!
//! May depend on `protocol` only. Everything here waits with a deadline and holds a bounded amount
//! of memory; nothing here knows what an agent or a coordinator is.

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
