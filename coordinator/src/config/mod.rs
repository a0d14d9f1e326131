//! The coordinator's configuration in three layers: `raw` text, checked values, and the live
//! [`Config`] that the rest of the program is started from.

mod blast;
mod check;
mod fence;
mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nodemedic_coordinator_core::Settings;
use nodemedic_edge::config::{ConfigError, Place, load};
use nodemedic_protocol::SiteId;
use nodemedic_protocol::work::WorkSpec;

use crate::fence::Devices;

/// Where the configuration is looked for when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/nodemedic/coordinator.toml";

/// Everything that an operator chose, valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The site that is looked after.
    pub site: SiteId,
    /// The HTTP API and the page.
    pub api: ApiConfig,
    /// Which broker.
    pub broker: BrokerConfig,
    /// Database and broker files.
    pub directory: PathBuf,
    /// For the core.
    pub settings: Settings,
    /// Fence devices, by name.
    pub fences: Devices,
    /// Receivers of alerts, by name.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Works that the files declare.
    pub works: Vec<WorkSpec>,
}

/// The HTTP API and the page.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What a client must show; always there when `listen` is not loopback.
    pub token: Option<String>,
}

impl std::fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiConfig")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .finish()
    }
}

/// Which broker carries the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerConfig {
    /// The one inside this process.
    Embedded {
        /// Where agents connect.
        listen: SocketAddr,
        /// Client certificates; always there when `listen` is not loopback.
        tls: Option<TlsFiles>,
    },
    /// Any MQTT 5 broker.
    External {
        /// Its name, which its certificate must have.
        host: String,
        /// Its port.
        port: u16,
        /// Its authority, and who we are.
        tls: Option<ClientTls>,
    },
}

/// Files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authority of the clients' certificates.
    pub ca: PathBuf,
    /// Our certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Files of a TLS client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Authority of the server's certificate.
    pub ca: PathBuf,
    /// Our certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// One receiver of alerts.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where alerts are posted. Its query may hold a secret.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::notify::harmless(&self.url))
    }
}

/// The directory of more files that goes with a main file: `coordinator.toml` has `coordinator.d`.
#[must_use]
pub fn more_of(main: &Path) -> PathBuf {
    main.with_extension("d")
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// When a file cannot be read, a key is unknown, or a value makes no sense: with the file, the
    /// place in it, and what to write instead.
    pub fn read(main: &Path) -> Result<Config, ConfigError> {
        let more = more_of(main);
        let raw: raw::Config = load(main, Some(&more))?;
        check::check(raw, &Place::new(main, Some(&more)))
    }
}

#[cfg(test)]
mod tests;
