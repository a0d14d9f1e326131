//! A whole fleet on one machine: real daemons as separate processes under one directory, with
//! nothing installed and no privileges. `up` and `story` are built on it.

mod config;
mod daemon;
mod layout;
mod ports;
mod programs;
mod run;
mod stop;
pub mod up;
mod works;

pub use config::{NodePorts, Shape, Timing};
pub use layout::Layout;
pub use ports::{check_free, find_free};
pub use programs::Programs;
pub use run::{Fleet, Part};
pub use works::{LEDGER, WEB, WEB_REPLICAS, works};
