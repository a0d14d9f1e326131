//! The life of a coordinator: what is started in which order, and how it ends.
//!
//! `main.rs` and the tests both come in here: [`start`] returns when the API answers, the broker
//! serves and the epoch is on disk.

use std::net::SocketAddr;
use std::path::PathBuf;

use nodemedic_coordinator_core::Coordinator;
use nodemedic_edge::clock;
use nodemedic_edge::mqtt::{self, LinkConfig};
use nodemedic_edge::tls::{self, TlsError};
use nodemedic_protocol::topic::{Topic, coordinator_filters};
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Epoch, Millis, SiteId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api;
use crate::broker::{Broker, BrokerError, BrokerSettings};
use crate::config::{BrokerConfig, Config};
use crate::engine::{self, Engine, EngineError, Parts, Renewed};
use crate::fence::{Devices, Fencer};
use crate::notify::Notifier;
use crate::store::{Store, StoreError};
use crate::{listen, secret};

/// The coordinator's name as a client; its certificate's, too, where there is one.
const CLIENT_ID: &str = "coordinator";

/// A half-open connection is noticed within twice this, well before a node counts as lost.
const KEEP_ALIVE_S: u16 = 5;

/// Long enough for a hiccup of the network; after it everything is asked for anew anyway.
const SESSION_EXPIRY_S: u32 = 60;

/// The broker is on this machine or in this network: the first new attempt comes at once, and none
/// is a minute away when leases of 20 s depend on it.
const BACKOFF_FIRST: Millis = Millis(100);
const BACKOFF_MAX: Millis = Millis::from_secs(5);

/// For clients to be told and files to be written; systemd waits 90 s.
const STOP_WITHIN: Millis = Millis::from_secs(5);

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The API's address cannot be had.
    #[error("cannot listen for the API on {address}: {cause}. {remedy}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        cause: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// The kernel gives no random bytes.
    #[error("cannot read /dev/urandom: {0}")]
    Random(std::io::Error),
    /// A part broke off while it started.
    #[error("the start broke off: {0}")]
    Broken(String),
}

/// A coordinator that runs. Dropping it ends it without a goodbye, as a kill would.
#[derive(Debug)]
pub struct Running {
    api: SocketAddr,
    broker: Option<Broker>,
    epoch: Epoch,
    stop: Option<oneshot::Sender<()>>,
    engine: JoinHandle<Result<(), EngineError>>,
    serving: JoinHandle<()>,
    renew: mpsc::Sender<Renewed>,
}

/// Starts everything, in the order in which it can fail most usefully: the directory (is another
/// one running?), the ports, then the rest.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config) -> Result<Running, StartError> {
    tls::install_provider();
    let seed = secret::seed().map_err(StartError::Random)?;
    let Config {
        site,
        api,
        broker,
        directory,
        settings,
        fences,
        webhooks,
        works,
    } = config;

    let state = directory.clone();
    let (store, journal, stored) = tokio::task::spawn_blocking(move || Store::open(&state))
        .await
        .map_err(|error| StartError::Broken(error.to_string()))??;
    let epoch = stored.epoch;
    let journal_last = stored.journal_last;

    let listener = TcpListener::bind(api.listen)
        .await
        .map_err(|cause| StartError::Listen {
            address: api.listen,
            remedy: listen::remedy(&cause, api.listen, "[api] listen"),
            cause,
        })?;
    let api_address = listener.local_addr().unwrap_or(api.listen);

    let (broker, link) = link(broker, &directory, &site, epoch, seed).await?;
    let (link, link_events) = mqtt::start(link);
    let (notifier, told) = Notifier::new(webhooks);
    let (fencer, fenced) = Fencer::new(fences);
    let (renew, renewed) = mpsc::channel(1);
    let core = Coordinator::new(settings, stored, clock::now(), seed);
    let parts = Parts {
        store,
        journal,
        link,
        link_events,
        notifier,
        told,
        fencer,
        fenced,
        renewed,
        site,
        epoch,
        journal_last,
    };
    let (engine, asking) = Engine::new(core, parts);
    let (stop, stopped) = oneshot::channel();
    let engine = tokio::spawn(engine.run(stopped));
    let serving = tokio::spawn(api::serve(listener, api, asking));
    let running = Running {
        api: api_address,
        broker,
        epoch,
        stop: Some(stop),
        engine,
        serving,
        renew,
    };
    running.declare(works).await;
    running.say_ready();
    Ok(running)
}

async fn link(
    broker: BrokerConfig,
    directory: &std::path::Path,
    site: &SiteId,
    epoch: Epoch,
    seed: u64,
) -> Result<(Option<Broker>, LinkConfig), StartError> {
    let mut subscriptions = coordinator_filters(site);
    subscriptions.push(Topic::Coordinator.to_text(site));
    let mut link = LinkConfig {
        client_id: CLIENT_ID.to_owned(),
        host: String::new(),
        port: 0,
        tls: None,
        credentials: None,
        will: engine::will(site, epoch),
        subscriptions,
        keep_alive_s: KEEP_ALIVE_S,
        session_expiry_s: SESSION_EXPIRY_S,
        backoff_first: BACKOFF_FIRST,
        backoff_max: BACKOFF_MAX,
        seed,
    };
    match broker {
        BrokerConfig::Embedded { listen, tls } => {
            let tls = tls
                .map(|files| tls::server_config(&files.ca, &files.certificate, &files.key))
                .transpose()?;
            let broker = Broker::start(BrokerSettings {
                site: site.clone(),
                listen,
                tls,
                directory: directory.join("broker"),
            })
            .await?;
            let door = broker.private();
            link.host = door.address.ip().to_string();
            link.port = door.address.port();
            link.credentials = Some((door.user.clone(), door.password.clone()));
            Ok((Some(broker), link))
        }
        BrokerConfig::External { host, port, tls } => {
            link.host = host;
            link.port = port;
            link.tls = tls
                .map(|files| {
                    let identity = files.identity.as_ref();
                    let identity: Option<(&std::path::Path, &std::path::Path)> =
                        identity.map(|(certificate, key): &(PathBuf, PathBuf)| {
                            (certificate.as_path(), key.as_path())
                        });
                    tls::client_config(&files.ca, identity)
                })
                .transpose()?;
            Ok((None, link))
        }
    }
}

impl Running {
    /// Where the API and the page are, with the port that the kernel picked if it did.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where agents connect; absent with an external broker.
    #[must_use]
    pub fn broker(&self) -> Option<SocketAddr> {
        self.broker.as_ref().map(Broker::public)
    }

    /// The leadership that this start began.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn say_ready(&self) {
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(
            "nodemedic-coordinator {version} leads with epoch {}",
            self.epoch
        );
        tracing::info!("the page and the API are at http://{}/", self.api);
        if let Some(broker) = &self.broker {
            tracing::info!("the embedded broker is at {}", broker.public());
        }
        engine::ready();
    }

    /// Declares works as a configuration does. What it does not name stays as it is.
    pub async fn declare(&self, works: Vec<WorkSpec>) {
        self.renew(Renewed::Works(works)).await;
    }

    /// Hands over what has changed in the secrets of fence devices. The devices are those of the
    /// start; others are configured by a restart.
    pub async fn rearm(&self, devices: Devices) {
        self.renew(Renewed::Fences(devices)).await;
    }

    async fn renew(&self, renewed: Renewed) {
        if self.renew.send(renewed).await.is_err() {
            tracing::warn!("nothing is taken any more: the coordinator is stopping");
        }
    }

    /// Returns when a part of the coordinator ends although nobody asked it to, with the cause.
    pub async fn ended(&mut self) -> String {
        let broker = async {
            match &mut self.broker {
                Some(broker) => broker.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut self.engine => match ended {
                Ok(Ok(())) => "the event loop ended by itself".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => format!("the event loop broke off: {error}"),
            },
            cause = broker => format!("the embedded broker ended: {cause}"),
            _ = &mut self.serving => "the API ended".to_owned(),
        }
    }

    /// Ends in order: says goodbye to the fleet, then closes broker and API.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A loop that has ended already needs no word.
            let _ = stop.send(());
        }
        if tokio::time::timeout(STOP_WITHIN.to_duration(), &mut self.engine)
            .await
            .is_err()
        {
            tracing::warn!("the event loop did not end within {STOP_WITHIN}; leaving it");
        }
        self.serving.abort();
        if let Some(broker) = self.broker.take() {
            broker.stop(STOP_WITHIN).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.abort();
        self.serving.abort();
    }
}
