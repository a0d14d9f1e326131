//! The sample service: a small real HTTP service that records when it ran, so that anybody can
//! prove from outside what ran where and when.

mod ask;
mod proof;
mod record;
mod server;

pub use ask::ask;
pub use proof::prove_exclusive;
pub use record::{Instance, read, start_ticks};
pub use server::{Answer, Settings, serve};
