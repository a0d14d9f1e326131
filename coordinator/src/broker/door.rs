//! The public door: accepts connections, reads the certificate, and hands each to mqtt5 with a
//! guard of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::DynamicStorage;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::tls_acceptor::TlsStreamWrapper;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::broker::{BrokerConfig, ResourceMonitor};
use nodemedic_edge::clock;
use nodemedic_protocol::SiteId;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast};
use tokio_rustls::TlsAcceptor;

use super::identity::{Guard, Identity};
use super::limits::{CONNECTIONS_MAX, HANDSHAKE_TIMEOUT};
use crate::quiet::Quiet;

/// When accept itself fails (no file descriptors left), trying again at once would spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Everything that a new connection needs.
pub(super) struct Door {
    pub(super) site: Arc<SiteId>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) config: Arc<BrokerConfig>,
    pub(super) router: Arc<MessageRouter>,
    pub(super) storage: Option<Arc<DynamicStorage>>,
    pub(super) stats: Arc<BrokerStats>,
    pub(super) resources: Arc<ResourceMonitor>,
    pub(super) shutdown: broadcast::Sender<()>,
    pub(super) refusals: Arc<Refusals>,
}

impl Door {
    /// Serves until aborted.
    pub(super) async fn accept(self, listener: TcpListener) {
        let door = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!("cannot accept MQTT connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                door.refusals
                    .log(peer, &format!("all {CONNECTIONS_MAX} places are taken"));
                continue;
            };
            let door = Arc::clone(&door);
            tokio::spawn(async move {
                let mut shutdown = door.shutdown.subscribe();
                tokio::select! {
                    () = door.serve(stream, peer) => {}
                    _ = shutdown.recv() => {}
                }
                drop(place);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("{peer}: cannot set TCP_NODELAY: {error}");
        }
        let (transport, identity) = match &self.tls {
            None => (BrokerTransport::tcp(stream), Identity::Loopback),
            Some(tls) => match secure(Arc::clone(tls), stream).await {
                Ok(secured) => secured,
                Err(why) => return self.refusals.log(peer, &why),
            },
        };
        let guard = Guard::new(Arc::clone(&self.site), identity, Arc::clone(&self.refusals));
        let handler = ClientHandler::new(
            transport,
            peer,
            Arc::clone(&self.config),
            Arc::clone(&self.router),
            Arc::new(guard),
            self.storage.clone(),
            Arc::clone(&self.stats),
            Arc::clone(&self.resources),
            self.shutdown.subscribe(),
        );
        if let Err(error) = handler.run().await {
            tracing::debug!("{peer}: the connection ended: {error}");
        }
    }
}

async fn secure(
    tls: Arc<ServerConfig>,
    stream: TcpStream,
) -> Result<(BrokerTransport, Identity), String> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream))
        .await
        .map_err(|_| format!("no TLS handshake within {} s", HANDSHAKE_TIMEOUT.as_secs()))?
        .map_err(|error| format!("the TLS handshake failed: {error}"))?;
    let certificates = accepted.get_ref().1.peer_certificates().unwrap_or_default();
    let common_name = common_name(certificates.first())?;
    Ok((
        BrokerTransport::tls(TlsStreamWrapper::new(accepted)),
        Identity::Certificate { common_name },
    ))
}

/// The one common name. None or several would leave open who this is.
fn common_name(certificate: Option<&CertificateDer<'_>>) -> Result<String, String> {
    let certificate = certificate.ok_or("it showed no certificate")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("its certificate cannot be read: {error}"))?;
    let mut names = parsed.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name
            .as_str()
            .map(str::to_owned)
            .map_err(|error| format!("the common name of its certificate is no text: {error}")),
        (None, _) => Err("its certificate has no common name (CN)".to_owned()),
        (Some(_), Some(_)) => Err("its certificate has several common names (CN)".to_owned()),
    }
}

/// Logs refusals, at most one per address and minute.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Quiet>);

impl Refusals {
    pub(super) fn log(&self, peer: SocketAddr, why: &str) {
        let said = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .may_say(&peer.ip().to_string(), clock::boottime());
        if let Some(held_back) = said {
            tracing::warn!(held_back, "refused an MQTT connection from {peer}: {why}");
        }
    }
}
