//! The words that agent, coordinator, command line and plugins share: ids, the two time types,
//! topics, versioned messages and the health vocabulary.
//!
//! Pure data: nothing here reads a clock, a file or a socket. Every type that is sent or stored has
//! golden bytes in `tests/fixtures/messages`; docs/howto/change-a-message.md says how to change
//! one.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
pub mod codec;
pub mod diagnose;
pub mod event;
pub mod healing;
pub mod health;
pub mod ids;
pub mod inject;
pub mod inventory;
pub mod local;
pub mod message;
mod mutation;
pub mod plugin;
pub mod probe;
pub mod reboot;
pub mod remedy;
pub mod rng;
pub mod sample;
pub mod time;
pub mod topic;
pub mod work;

pub use health::{Component, Condition, Level, Severity};
pub use ids::{
    BootId, CommandId, DeviceName, Epoch, Generation, NodeId, RemedyName, Revision, Seq,
    ServiceName, SessionId, SiteId, StreamId, WorkName,
};
pub use time::{Boottime, Millis, Now, WallTime};
