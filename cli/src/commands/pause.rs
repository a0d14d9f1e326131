//! `nodemedic pause`, `resume` and `unfence`: a person's word to the agent of this host.

use std::path::PathBuf;

use nodemedic_edge::config::span;
use nodemedic_protocol::local::LocalRequest;
use nodemedic_protocol::{Millis, ServiceName};

use crate::args::Context;
use crate::failure::Failure;
use crate::local;

/// Hold all healing of a service of this host, or of all of them, while you work on it. It ends by
/// itself; works of the fleet are not held (drain the node for that).
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// The service [default: all of this host]
    service: Option<ServiceName>,
    /// It ends by itself after so long, at most 1d; a second pause replaces the first
    #[arg(long = "for", value_parser = span::parse, value_name = "SPAN")]
    span: Millis,
    /// Why; others will ask
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    agent: Agent,
}

/// End a pause now: what waited for it is healed at once.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The service [default: the pause of the whole host]
    service: Option<ServiceName>,
    #[command(flatten)]
    agent: Agent,
}

/// Let a fenced service of this host back, with a fresh restart budget.
#[derive(Debug, clap::Args)]
pub struct Unfence {
    /// The service
    service: ServiceName,
    #[command(flatten)]
    agent: Agent,
}

/// Which agent is told.
#[derive(Debug, clap::Args)]
struct Agent {
    /// The agent's local socket
    #[arg(long, env = "NODEMEDIC_SOCKET", default_value = local::DEFAULT_SOCKET,
          value_name = "PATH")]
    socket: PathBuf,
}

impl Agent {
    fn tell(&self, request: &LocalRequest, context: &Context, done: &str) -> Result<(), Failure> {
        local::tell(&self.socket, request)?;
        if !context.screen.json {
            context.screen.say(done);
        }
        Ok(())
    }
}

fn whom(service: Option<&ServiceName>) -> String {
    service.map_or_else(
        || "all services of this host".to_owned(),
        |name| format!("service {name}"),
    )
}

/// Holds healing.
pub fn pause(args: &Pause, context: &Context) -> Result<(), Failure> {
    let request = LocalRequest::Pause {
        service: args.service.clone(),
        span: args.span,
        reason: args.reason.clone(),
    };
    let whom = whom(args.service.as_ref());
    let done = format!("healing of {whom} is paused for {}", args.span);
    args.agent.tell(&request, context, &done)
}

/// Ends such a hold.
pub fn resume(args: &Resume, context: &Context) -> Result<(), Failure> {
    let request = LocalRequest::Resume {
        service: args.service.clone(),
    };
    let whom = whom(args.service.as_ref());
    let done = format!("healing of {whom} goes on");
    args.agent.tell(&request, context, &done)
}

/// Lets a service back.
pub fn unfence(args: &Unfence, context: &Context) -> Result<(), Failure> {
    let request = LocalRequest::Unfence {
        service: args.service.clone(),
    };
    let done = format!("service {} is let back, with a fresh budget", args.service);
    args.agent.tell(&request, context, &done)
}
