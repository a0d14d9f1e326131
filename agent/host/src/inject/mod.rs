//! Faults on purpose: a person breaks something, and the agent takes it back by itself.
//!
//! What will have to be taken back is on disk before anything is broken, so that an agent that is
//! killed at any moment takes it back when it begins again. One task keeps the time; a fault that
//! cannot be taken back yet stays on the list and is tried again.

mod fill;
mod hang;
mod nic;
mod record;
mod task;

use std::path::PathBuf;

use nodemedic_agent_core::Input;
use nodemedic_protocol::inject::{Fault, Injection};
use nodemedic_protocol::{BootId, Millis};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::task::Task;
use crate::diagnose::Subject;

/// Orders that wait; each is from a person.
const ORDERS_MAX: usize = 8;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Records of what must be taken back; survives a reboot.
    pub records: PathBuf,
    /// Scratch filesystems are mounted below.
    pub scratch: PathBuf,
    /// This boot.
    pub boot_id: BootId,
    /// Where cgroups are.
    pub cgroup_root: PathBuf,
}

/// What a person wants.
#[derive(Clone, Debug)]
pub enum Order {
    /// To know which stand.
    List,
    /// A new one.
    Begin {
        /// What.
        fault: Fault,
        /// For how long.
        span: Millis,
        /// Whom it is about, for `kill` and `hang`.
        subject: Option<Box<Subject>>,
        /// Directories that may be filled.
        fill_paths: Vec<PathBuf>,
    },
    /// One less, or none.
    Undo {
        /// Which; absent for all.
        id: Option<u64>,
    },
}

/// What comes of an order.
pub type Answer = Result<Vec<Injection>, String>;

#[derive(Debug)]
struct Asked {
    order: Order,
    answer: oneshot::Sender<Answer>,
}

/// Breaks things and takes it back.
#[derive(Debug)]
pub struct Injector {
    orders: mpsc::Sender<Asked>,
    task: JoinHandle<()>,
}

impl Injector {
    /// Takes back what an earlier run left, then waits for orders. Events and pretended conditions
    /// go to `inputs`.
    #[must_use]
    pub fn start(settings: Settings, inputs: mpsc::Sender<Input>) -> Injector {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let task = Task::new(settings, inputs);
        Injector {
            orders,
            task: tokio::spawn(task.run(inbox)),
        }
    }

    /// Gives an order; the answer comes later.
    ///
    /// # Errors
    /// When too many wait.
    pub fn ask(&self, order: Order) -> Result<oneshot::Receiver<Answer>, String> {
        let (answer, answered) = oneshot::channel();
        let asked = self.orders.try_send(Asked { order, answer });
        match asked {
            Ok(()) => Ok(answered),
            Err(_) => Err("too many faults are being begun or taken back: ask again".to_owned()),
        }
    }

    /// The agent ends: everything is taken back now, as far as that goes within this time. What is
    /// left is taken back when it begins again.
    pub async fn end(self, within: Millis) {
        drop(self.orders);
        if timeout(within.to_duration(), self.task).await.is_err() {
            tracing::error!("a fault could not be taken back in time; the next start tries again");
        }
    }
}

#[cfg(test)]
mod tests;
