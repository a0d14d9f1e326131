//! Eyes and hands of a simulated watchdog: it sees a picture of its host and leaves orders, which
//! the world carries out when the step is over.

use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_watchdog::beat::Promise;
use nodemedic_watchdog::edge::ALERT;
use nodemedic_watchdog::verdict::{Act, Host};

/// Something that runs.
#[derive(Clone, Debug)]
pub struct Runs {
    /// As a beat names it; its times mean nothing.
    pub target: Promise,
    /// As the agent names it.
    pub unit: UnitKey,
}

/// What a watchdog wants done.
#[derive(Clone, Debug)]
pub enum Order {
    /// Ask a unit to end.
    Ask(UnitKey),
    /// Kill it.
    Kill(UnitKey),
    /// Kill the agent.
    KillAgent,
    /// Feed the device.
    Feed,
    /// Reboot.
    Reboot,
    /// Keep these bytes for the next watchdog.
    Keep(Vec<u8>),
    /// Say something that matters.
    Say(String),
}

/// See the file.
#[derive(Debug)]
pub struct Hands {
    /// What runs.
    pub runs: Vec<Runs>,
    /// Nothing can be killed.
    pub unkillable: bool,
    /// The run of the agent, while it lives.
    pub agent: Option<u64>,
    /// The run that is held by its pidfd.
    pub held: Option<u64>,
    /// In order.
    pub orders: Vec<Order>,
}

impl Hands {
    /// Sees a fresh picture; what is held stays held.
    pub(crate) fn look(&mut self, eyes: Hands) {
        let held = self.held;
        *self = Hands { held, ..eyes };
    }
}

impl Host for Hands {
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> nix::Result<usize> {
        let Some(at) = self.runs.iter().position(|r| r.target.is_about(target)) else {
            return Ok(0);
        };
        let unit = self.runs[at].unit.clone();
        match signal {
            Some(Signal::SIGKILL) if !self.unkillable => {
                self.runs.remove(at);
                self.orders.push(Order::Kill(unit));
            }
            Some(Signal::SIGTERM) => self.orders.push(Order::Ask(unit)),
            _ => {}
        }
        Ok(1)
    }

    fn is_self(&self, _target: &Promise) -> bool {
        false
    }

    fn hold(&mut self, run: u64, _began: [u64; 2]) -> nix::Result<u64> {
        self.held = Some(run).filter(|run| self.agent == Some(*run));
        self.held.ok_or(Errno::ESRCH)
    }

    fn agent_lives(&self) -> bool {
        self.held.is_some() && self.held == self.agent
    }

    fn act(&mut self, act: Act) -> nix::Result<()> {
        match act {
            Act::Feed => self.orders.push(Order::Feed),
            Act::Reboot => self.orders.push(Order::Reboot),
            Act::KillAgent if self.agent_lives() && !self.unkillable => {
                self.agent = None;
                self.orders.push(Order::KillAgent);
            }
            Act::KillAgent | Act::Disarm => {}
        }
        Ok(())
    }

    fn keep(&mut self, table: &[u8]) -> nix::Result<()> {
        self.orders.push(Order::Keep(table.to_vec()));
        Ok(())
    }

    fn last_words(&mut self, _now: u64, verdict: &str, target: &Promise, why: &str) {
        let text = format!("last words: {verdict}, {target}: {why}");
        self.orders.push(Order::Say(text));
    }

    fn say(&mut self, level: u8, line: fmt::Arguments<'_>) {
        if level <= ALERT {
            self.orders.push(Order::Say(line.to_string()));
        }
    }
}
