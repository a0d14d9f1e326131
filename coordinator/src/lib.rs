//! The coordinator as a library: `main.rs` only parses arguments. Everything that decides is in
//! `nodemedic-coordinator-core`; here are the edges: the broker, the store, the API, the page, the
//! notifiers, and the loop that joins them.
#![forbid(unsafe_code)]

mod api;
pub mod broker;
pub mod config;
pub mod engine;
pub mod fence;
pub mod life;
mod listen;
mod notify;
mod page;
pub mod program;
mod quiet;
mod secret;
pub mod store;
