//! Every decision of the agent, pure: what is wrong, what to do about it, what may run here, and
//! what the coordinator is told.
//!
//! [`Agent`] is a state machine: `handle(now, input)`, then `poll_effect()` until it is empty, then
//! sleep until `poll_timeout()`. It reads no clock, no file and no socket; `no_std` holds it to
//! that. agent/host does the effects, agent/ turns the wheel, tests/sim turns it on virtual time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod agent;
mod budget;
mod conditions;
pub mod config;
pub mod describe;
pub mod effect;
pub mod facts;
mod hold;
mod inbox;
pub mod input;
mod judge;
mod last_words;
mod lease;
pub mod memory;
#[doc(hidden)]
pub mod mutation;
mod out;
mod outbox;
mod permit;
pub mod remedy;
mod report;
mod said;
mod steer;
#[cfg(test)]
mod stories;
pub mod substitute;
mod supervisor;
mod told;
pub mod unit;
mod view;
mod works;

pub use agent::Agent;
pub use budget::WINDOW_MAX;
pub use config::Config;
pub use effect::{Act, ActionId, Effect, Gate, GatePromise, Promise, Token, Treatment, Wake};
pub use facts::{Facts, Spooled};
pub use input::{DownCause, Input, Seen, ToNode, Verdict};
pub use memory::{LeaseMemory, Memory};
pub use unit::UnitKey;
