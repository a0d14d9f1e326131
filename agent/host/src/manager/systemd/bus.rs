//! The connection to systemd over D-Bus, shared by all units, and what it tells about one unit.
//!
//! zbus holds back everything, answers too, while one stream of signals is full. So each stream is
//! emptied from its first moment by a task that does nothing else, and keeps what is about its
//! unit: a stream that waited until its unit is read would hold back the very answers to that.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use zbus::fdo::PropertiesProxy;
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy};
use zbus_systemd::zbus;

/// systemd answers in milliseconds; one that reloads a large host may take seconds.
pub const CALL_WAIT: Duration = Duration::from_secs(10);

/// Signals about one unit that were not looked at yet. More say nothing new: each makes the unit
/// be read again.
const SIGNALS_MAX: usize = 64;

/// Units that are reached at the same time. Each has one question open, and a bus answers a client
/// 128 at most; hundreds at once would also hold each other up beyond [`CALL_WAIT`].
const ATTACH_AT_ONCE: usize = 16;

/// The connection.
#[derive(Debug)]
pub struct Bus {
    address: Option<String>,
    live: Mutex<Option<zbus::Connection>>,
    turns: Semaphore,
}

/// What happened to one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its properties changed: read them.
    Changed,
    /// A job of it ended.
    JobRemoved {
        /// Which.
        job: String,
        /// How: `done`, `failed`, `timeout`, `canceled`, `skipped`, ...
        result: String,
    },
    /// systemd began anew, or the bus is gone: subscribe again and read everything again.
    Lost,
}

/// A unit as it can be reached.
#[derive(Debug)]
pub struct Attached {
    /// systemd itself.
    pub manager: ManagerProxy<'static>,
    /// The unit's properties.
    pub properties: PropertiesProxy<'static>,
    /// What happens to it.
    pub signals: mpsc::Receiver<Signal>,
    /// They end with it.
    _pumps: JoinSet<()>,
}

impl Bus {
    /// Not connected yet. Without an address it is the system's bus.
    #[must_use]
    pub fn new(address: Option<String>) -> Bus {
        Bus {
            address,
            live: Mutex::new(None),
            turns: Semaphore::new(ATTACH_AT_ONCE),
        }
    }

    /// A unit with its signals, the streams opened before anything is asked.
    ///
    /// # Errors
    /// One line: what could not be reached and what to do.
    pub async fn attach(&self, unit: &str) -> Result<Attached, String> {
        // Nobody closes it.
        let _turn = self.turns.acquire().await;
        let attached = tokio::time::timeout(CALL_WAIT, self.attach_now(unit)).await;
        let attached = attached.unwrap_or_else(|_| Err("no answer within 10 s".to_owned()));
        if attached.is_err() {
            // A connection that fails is not tried again: the next one is new.
            *self.live.lock().await = None;
        }
        attached.map_err(|error| format!("cannot reach systemd over {}: {error}", self.name()))
    }

    fn name(&self) -> &str {
        self.address.as_deref().unwrap_or("the system bus")
    }

    async fn attach_now(&self, unit: &str) -> Result<Attached, String> {
        let connection = self.connection().await.map_err(text)?;
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(text)?;
        let (outbox, signals) = mpsc::channel(SIGNALS_MAX);
        let mut pumps = JoinSet::new();
        let jobs = manager.receive_job_removed().await.map_err(text)?;
        let name = unit.to_owned();
        let jobs = jobs.map(move |signal| {
            let args = signal.args().ok()?;
            (args.unit == name).then(|| Signal::JobRemoved {
                job: args.job.to_string(),
                result: args.result.clone(),
            })
        });
        let lost = || stream::iter([Some(Signal::Lost)]);
        pumps.spawn(pump(jobs.chain(lost()).boxed(), outbox.clone()));
        let owners = manager.inner().receive_owner_changed();
        let owners = owners.await.map_err(text)?.map(|_| Some(Signal::Lost));
        pumps.spawn(pump(owners.boxed(), outbox.clone()));
        // A second subscription of the same client is refused, and stands.
        match manager.subscribe().await {
            Err(error) if !error.to_string().contains("AlreadySubscribed") => {
                return Err(text(error));
            }
            _ => {}
        }
        // LoadUnit gives the path also of a unit that is not loaded, or does not exist.
        let path = manager.load_unit(unit.to_owned()).await.map_err(text)?;
        // systemd forgets a unit that ended well and is referred to by nobody, and with it how it
        // ended. Refused where there is no such unit; then there is nothing to forget.
        let _no_such_unit = manager.ref_unit(unit.to_owned()).await;
        let properties = PropertiesProxy::builder(&connection)
            .destination("org.freedesktop.systemd1")
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(text)?;
        let changes = properties
            .receive_properties_changed()
            .await
            .map_err(text)?;
        let changes = changes.map(|_| Some(Signal::Changed)).chain(lost());
        pumps.spawn(pump(changes.boxed(), outbox));
        Ok(Attached {
            manager,
            properties,
            signals,
            _pumps: pumps,
        })
    }

    /// When a service said `WATCHDOG=1` last, in microseconds of CLOCK_MONOTONIC; 0 for never.
    /// systemd announces no change of it.
    ///
    /// # Errors
    /// One line: what did not answer.
    pub async fn watchdog_us(&self, unit: &str) -> Result<u64, String> {
        let ask = async {
            let connection = self.connection().await.map_err(text)?;
            let manager = ManagerProxy::builder(&connection)
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await
                .map_err(text)?;
            let path = manager.load_unit(unit.to_owned()).await.map_err(text)?;
            let service = ServiceProxy::builder(&connection)
                .path(path)
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await
                .map_err(text)?;
            service.watchdog_timestamp_monotonic().await.map_err(text)
        };
        let asked = tokio::time::timeout(CALL_WAIT, ask).await;
        asked.unwrap_or_else(|_| Err("no answer within 10 s".to_owned()))
    }

    pub(super) async fn connection(&self) -> zbus::Result<zbus::Connection> {
        let mut live = self.live.lock().await;
        if let Some(connection) = &*live {
            return Ok(connection.clone());
        }
        let builder = match &self.address {
            Some(address) => zbus::connection::Builder::address(address.as_str()),
            None => zbus::connection::Builder::system(),
        };
        let connection = builder.method_timeout(CALL_WAIT).build().await?;
        *live = Some(connection.clone());
        Ok(connection)
    }

    /// The connection broke: the next attachment makes a new one.
    pub async fn forget(&self) {
        *self.live.lock().await = None;
    }
}

async fn pump(mut all: BoxStream<'static, Option<Signal>>, outbox: mpsc::Sender<Signal>) {
    while let Some(signal) = all.next().await {
        let Some(signal) = signal else { continue };
        let lost = signal == Signal::Lost;
        if let Err(mpsc::error::TrySendError::Full(signal)) = outbox.try_send(signal)
            && signal != Signal::Changed
        {
            // A change needs no place: those that wait make the unit be read again. The loss of
            // anything else is found by reading again after the deadline of the job.
            tracing::warn!(?signal, "too many signals wait for one unit");
        }
        if lost {
            return;
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
