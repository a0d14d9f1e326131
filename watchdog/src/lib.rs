//! The watchdog: keeps the promises of leases when the agent cannot.
//!
//! It shares no code with what it watches: the agent reaches it by the datagrams of
//! docs/reference/watchdog-beat.md only. It reads no configuration file, speaks no network, starts
//! no program, and has no dependency but the kernel's interface. Once started it allocates nothing.

pub mod args;
pub mod beat;
pub mod clock;
pub mod device;
pub mod edge;
pub mod hands;
pub mod host;
pub mod sys;
pub mod table;
pub mod verdict;
