//! Every decision of the coordinator, pure: fleet view, liveness, grants, planner, drain, events
//! and alerts.
//!
//! Two shapes only: [`Coordinator`] is a state machine that is told the time and every input and
//! answers with effects; [`plan::plan`] is a function from a picture of the fleet to a plan. No
//! clock, file or socket can be reached from here.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod alert_rules;
mod alerts;
mod assign;
mod boots;
pub mod brake;
pub mod budget;
pub mod coordinator;
mod drains;
pub mod effect;
pub mod events;
pub mod fencing;
mod grants;
pub mod hear;
pub mod input;
pub mod lease;
mod liveness;
#[doc(hidden)]
pub mod mutation;
mod node;
mod out;
pub mod plan;
mod planning;
mod proofs;
pub mod reboot;
pub mod requests;
mod reserve;
pub mod settings;
pub mod stored;
mod views;

pub use coordinator::{Coordinator, Wake};
pub use effect::{Effect, LogLevel, Refused};
pub use input::{FenceWish, Input, NotifyFailure, NotifyId, Request, RequestId};
pub use settings::Settings;
pub use stored::{Stored, Write};
