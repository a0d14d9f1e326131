//! The embedded MQTT broker: mqtt5 behind doors of our own, so that who somebody is comes from the
//! certificate and what they may say comes from [`nodemedic_protocol::topic`].
//!
//! Two doors. The public one is `[broker] listen`: plaintext on loopback only, elsewhere TLS with
//! client certificates. The private one is `127.0.0.1` on a port that the kernel picks; this
//! process alone knows its password, fresh at each start, and only there is somebody the
//! coordinator. So the coordinator connects to its own broker as it does to any other, and no
//! certificate, however it came to its name, can pose as the coordinator at the public door.

mod door;
mod identity;
mod limits;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mqtt5::broker::storage::DynamicStorage;
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use nodemedic_protocol::{Millis, SiteId};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};

use crate::secret;
use door::{Door, Refusals};
use identity::{Guard, Identity};

/// How often a stop looks whether the last connection has ended: it takes a few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the broker serves, and where.
#[derive(Debug)]
pub struct BrokerSettings {
    /// Whose topics.
    pub site: SiteId,
    /// The public door. Port 0 lets the kernel pick.
    pub listen: SocketAddr,
    /// Demands client certificates of this authority. Without it `listen` must be loopback.
    pub tls: Option<Arc<ServerConfig>>,
    /// Where retained messages and sessions are kept.
    pub directory: PathBuf,
}

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The public address cannot be had.
    #[error("cannot listen for MQTT on {address}: {cause}. {remedy}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        cause: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// Plaintext beyond this machine.
    #[error(
        "will not serve MQTT in plaintext on {0}: everybody who reaches that address could command \
         the fleet. Set [broker] ca, certificate and key, or listen on 127.0.0.1"
    )]
    Plaintext(SocketAddr),
    /// The kernel gives no random bytes.
    #[error("cannot make the broker's private password from /dev/urandom: {0}")]
    Secret(std::io::Error),
    /// mqtt5 does not start.
    #[error(
        "cannot start the embedded broker with its files in {directory}: {cause}. If the files are \
         damaged, move that directory away: agents and coordinator publish again what it held"
    )]
    Start {
        /// Where its files are.
        directory: PathBuf,
        /// The library's word.
        cause: String,
    },
}

/// A running broker. Dropping it closes both doors at once.
#[derive(Debug)]
pub struct Broker {
    public: SocketAddr,
    private: PrivateDoor,
    shutdown: Shutdown,
    accepting: JoinHandle<()>,
    serving: JoinHandle<mqtt5::error::Result<()>>,
    storage: Weak<DynamicStorage>,
}

/// How this process, and no other, connects as the coordinator.
#[derive(Clone)]
pub struct PrivateDoor {
    /// Loopback.
    pub address: SocketAddr,
    /// User name.
    pub user: String,
    /// Fresh at each start; never logged, never stored.
    pub password: String,
}

impl std::fmt::Debug for PrivateDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateDoor")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

struct Shutdown {
    broker: BrokerShutdownHandle,
    clients: tokio::sync::broadcast::Sender<()>,
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shutdown")
    }
}

impl Broker {
    /// Opens the public door, then the library's own (our private one), and serves both.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn start(settings: BrokerSettings) -> Result<Broker, BrokerError> {
        let BrokerSettings {
            site,
            listen,
            tls,
            directory,
        } = settings;
        let listener = bind(listen, tls.is_some()).await?;
        let public = listener.local_addr().unwrap_or(listen);
        let password = secret::fresh().map_err(BrokerError::Secret)?;
        let site = Arc::new(site);
        let refusals = Arc::new(Refusals::default());

        let start_error = |cause: String| BrokerError::Start {
            directory: directory.clone(),
            cause,
        };
        let config = limits::config((Ipv4Addr::LOCALHOST, 0).into(), &directory);
        let guard = Guard::new(
            Arc::clone(&site),
            Identity::Coordinator {
                password: password.clone(),
            },
            Arc::clone(&refusals),
        );
        let broker = MqttBroker::with_config(config.clone())
            .await
            .map_err(|error| start_error(error.to_string()))?
            .with_auth_provider(Arc::new(guard));
        let address = broker
            .local_addr()
            .ok_or_else(|| start_error("the private listener has no address".to_owned()))?;

        let (clients, _) = tokio::sync::broadcast::channel(1);
        let door = Door {
            site,
            tls,
            config: Arc::new(config),
            router: broker.router(),
            storage: broker.storage(),
            stats: broker.stats(),
            resources: limits::node_resources(),
            shutdown: clients.clone(),
            refusals,
        };
        let storage = broker
            .storage()
            .as_ref()
            .map(Arc::downgrade)
            .unwrap_or_default();
        let handle = broker.shutdown_handle();
        let serving = serve(broker).await.map_err(start_error)?;
        let accepting = tokio::spawn(door.accept(listener));
        Ok(Broker {
            public,
            private: PrivateDoor {
                address,
                user: identity::COORDINATOR.to_owned(),
                password,
            },
            shutdown: Shutdown {
                broker: handle,
                clients,
            },
            accepting,
            serving,
            storage,
        })
    }

    /// Where agents connect: the address in force, with the port that the kernel picked if it did.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where this process connects as the coordinator.
    #[must_use]
    pub fn private(&self) -> &PrivateDoor {
        &self.private
    }

    /// Returns when the broker ends although nobody asked it to, with the cause.
    pub async fn ended(&mut self) -> String {
        let (serving, accepting) = (&mut self.serving, &mut self.accepting);
        tokio::select! {
            ended = serving => why_ended(ended),
            _ = accepting => "its public door closed by itself".to_owned(),
        }
    }

    /// Says goodbye to all clients and writes out what is not yet on disk.
    pub async fn stop(mut self, within: Millis) {
        self.accepting.abort();
        // Nobody listening means that nobody is connected.
        let _ = self.shutdown.clients.send(());
        self.shutdown.broker.shutdown();
        if tokio::time::timeout(within.to_duration(), &mut self.serving)
            .await
            .is_err()
        {
            tracing::warn!("the embedded broker did not end within {within}; leaving it");
        }
        // A connection that is still ending holds the store, and the store its directory: who
        // starts the next broker there would be refused.
        let released = async {
            while self.storage.strong_count() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(within.to_duration(), released)
            .await
            .is_err()
        {
            tracing::warn!("connections of the broker did not end within {within}; leaving them");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
        self.serving.abort();
        let _ = self.shutdown.clients.send(());
        self.shutdown.broker.shutdown();
    }
}

/// Runs the library's broker, and returns once it serves.
///
/// # Errors
/// Why it ended instead.
async fn serve(mut broker: MqttBroker) -> Result<JoinHandle<mqtt5::error::Result<()>>, String> {
    let mut ready = broker.ready_receiver();
    let mut serving = tokio::spawn(async move { broker.run().await });
    tokio::select! {
        // An error here means that the broker ended, which the other arm tells in full.
        Ok(_) = ready.wait_for(|ready| *ready) => Ok(serving),
        ended = &mut serving => Err(why_ended(ended)),
    }
}

fn why_ended(ended: Result<mqtt5::error::Result<()>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

async fn bind(address: SocketAddr, secure: bool) -> Result<TcpListener, BrokerError> {
    if !secure && !address.ip().is_loopback() {
        return Err(BrokerError::Plaintext(address));
    }
    TcpListener::bind(address)
        .await
        .map_err(|cause| BrokerError::Listen {
            address,
            remedy: crate::listen::remedy(&cause, address, "[broker] listen"),
            cause,
        })
}

#[cfg(test)]
mod tests;
