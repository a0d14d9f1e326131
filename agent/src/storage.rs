//! A thread of its own for everything that waits for the disk, so that a slow disk never stops the
//! event loop. Orders are done one after the other; each is answered when it is durable.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;
use nodemedic_agent_core::Spooled;
use nodemedic_agent_core::memory::{LeaseMemory, Memory};
use nodemedic_agent_host::spool::Spool;
use nodemedic_agent_host::store::Store;
use nodemedic_protocol::{BootId, Seq};
use tokio::sync::mpsc;

use crate::backlog::{Backlog, Change};

/// Orders that are not done yet. Each turn of the core makes a handful; a disk that is this far
/// behind is told again later.
pub const ORDERS_MAX: usize = 256;

/// One thing to write.
#[derive(Debug)]
pub enum Write {
    /// Over restarts and reboots.
    Memory(Box<Memory>),
    /// Over restarts on this boot.
    Leases(LeaseMemory),
    /// One more change of the event spool.
    Spool(Change),
    /// What was refused of the event spool, again.
    SpoolAgain,
    /// All events up to this one are stored elsewhere.
    Trim {
        /// The last one.
        through: Seq,
    },
}

/// What was found at the start.
#[derive(Debug)]
pub struct Found {
    /// What an earlier run knew.
    pub memory: Memory,
    /// Leases of this boot.
    pub leases: Option<LeaseMemory>,
    /// Events that wait.
    pub spool: Spooled,
}

/// How one order ended.
#[derive(Debug)]
pub struct Written {
    /// Whether it was the memory over reboots, which is tried again until it is written.
    pub memory: bool,
    /// Whether acts wait for it.
    pub state: bool,
    /// Why not, with the remedy.
    pub error: Option<String>,
    /// The highest number in the event spool that is durable.
    pub spooled: Seq,
    /// Changes of the event spool that the disk has refused so far.
    pub unspooled: usize,
}

/// The storage thread, from outside. It ends when this is dropped, after what it was told.
#[derive(Debug)]
pub struct Storage {
    orders: Sender<Write>,
    written: mpsc::Receiver<Written>,
    under_way: usize,
    state_under_way: usize,
    spooled: Seq,
}

impl Write {
    /// True for what an act must not come before.
    const fn is_state(&self) -> bool {
        matches!(self, Write::Memory(_) | Write::Leases(_))
    }
}

impl Storage {
    /// Reads what is there, then waits for orders.
    ///
    /// # Errors
    /// When a directory cannot be used; the message says what to do.
    pub fn open(state: &Path, run: &Path, boot: &BootId) -> anyhow::Result<(Storage, Found)> {
        let store = Store::open(state, run)?;
        let (memory, complaints) = store.memory(boot)?;
        let leases = store.leases(boot)?;
        let (spool, spooled, complaint) = Spool::open(state)?;
        let others = [leases.complaint, complaint].into_iter().flatten();
        for complaint in complaints.into_iter().chain(others) {
            tracing::error!("{complaint}");
        }
        // Better now than at the first restart of a service.
        store.keep_memory(&memory)?;
        let spooled_through = spool.through();
        let (orders, inbox) = channel();
        let (answers, written) = mpsc::channel(ORDERS_MAX);
        std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || serve(&store, spool, &inbox, &answers))
            .context("cannot start the storage thread")?;
        let storage = Storage {
            orders,
            written,
            under_way: 0,
            state_under_way: 0,
            spooled: spooled_through,
        };
        let found = Found {
            memory,
            leases: leases.value,
            spool: spooled,
        };
        Ok((storage, found))
    }

    /// True when another order may be given.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.under_way < ORDERS_MAX
    }

    /// True when everything that was ordered is done.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// True when memory and leases are as they were ordered to be.
    #[must_use]
    pub const fn state_is_kept(&self) -> bool {
        self.state_under_way == 0
    }

    /// The highest number of an event that is durable: one above it would be given to another event
    /// after a crash.
    #[must_use]
    pub const fn spooled(&self) -> Seq {
        self.spooled
    }

    /// Gives an order.
    pub fn write(&mut self, write: Write) {
        let state = usize::from(write.is_state());
        if self.orders.send(write).is_ok() {
            self.under_way += 1;
            self.state_under_way += state;
        } else {
            tracing::error!("the storage thread is gone: restart the agent");
        }
    }

    /// Waits for the next order to be done; for ever when there is none.
    pub async fn written(&mut self) -> Written {
        match self.written.recv().await {
            Some(written) => {
                self.under_way = self.under_way.saturating_sub(1);
                let state = usize::from(written.state);
                self.state_under_way = self.state_under_way.saturating_sub(state);
                self.spooled = written.spooled;
                written
            }
            None => std::future::pending().await,
        }
    }
}

fn serve(store: &Store, mut spool: Spool, inbox: &Receiver<Write>, done: &mpsc::Sender<Written>) {
    let mut backlog = Backlog::default();
    while let Ok(write) = inbox.recv() {
        let memory = matches!(write, Write::Memory(_));
        let state = write.is_state();
        let error = match write {
            Write::Memory(memory) => store.keep_memory(&memory).map_err(|e| e.to_string()),
            Write::Leases(leases) => store.keep_leases(&leases).map_err(|e| e.to_string()),
            Write::Spool(change) => {
                backlog.push(change);
                flush(&mut backlog, &mut spool)
            }
            Write::SpoolAgain => flush(&mut backlog, &mut spool),
            Write::Trim { through } => {
                backlog.trim(through);
                let trimmed = spool.trim(through).map_err(|e| e.to_string());
                // What was trimmed may have made room.
                trimmed.and(flush(&mut backlog, &mut spool))
            }
        };
        let written = Written {
            memory,
            state,
            error: error.err(),
            spooled: spool.through(),
            unspooled: backlog.waiting(),
        };
        // No more than ORDERS_MAX are under way, so there is room; without a reader the agent ends.
        if done.blocking_send(written).is_err() {
            return;
        }
    }
}

fn flush(backlog: &mut Backlog, spool: &mut Spool) -> Result<(), String> {
    let write = |change: &Change| match change {
        Change::Append(event) => spool.append(event),
        Change::Replace { first, last, with } => spool.replace(*first, *last, with),
    };
    backlog.flush(write).map_err(|error| error.to_string())
}
