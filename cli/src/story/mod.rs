//! The main story, told by a real fleet: services are killed, broken, their host lost and drained,
//! and each turn is seen from outside, by asking the services themselves.

mod pager;
mod stage;
mod steps;
mod timeline;
mod watch;

pub use stage::{Options, play};
