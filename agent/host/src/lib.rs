//! The agent's edge at the host: samplers, inventory, service managers, probes, plugin runner, the
//! durable files and the client of the watchdog.
//!
//! Nothing here decides: what is seen is handed to `agent/core` as its input, what it answers is
//! done. Every wait has a deadline and every queue a bound.

pub mod boot;
pub mod diagnose;
pub mod helper;
pub mod inject;
pub mod inventory;
pub mod manager;
pub mod packages;
pub mod plugin;
pub mod probe;
pub mod remedies;
pub mod sampler;
pub mod spool;
pub mod store;
pub mod watchdog;
