//! The agent's life: it reads its configuration, starts its parts, and turns the wheel between the
//! core (which decides) and the host (which does). `main.rs` only parses arguments.

pub mod args;
mod asking;
mod backlog;
pub mod config;
mod driver;
pub mod life;
mod lock;
mod packages;
mod socket;
mod storage;
mod systemd;
mod uplink;
mod withheld;
