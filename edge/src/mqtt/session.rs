//! How this link uses the MQTT client: its options, and the session that it claims to remember.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    LastWill, MqttOptions, NetworkOptions, PersistedAckMode, PersistedSession, QoS, SessionStore,
    SessionStoreKey, TlsConfiguration, Transport,
};

use super::{LinkConfig, MAX_PAYLOAD_BYTES};

/// Publishes that wait for the broker's answer at one time. Without a limit the client's buffers
/// grew from 5 to 18 MB; 20 keep a link of 100 ms round trip at 200 messages a second.
pub(super) const IN_FLIGHT_MAX: u16 = 20;

/// Headers and properties around the largest payload: topic (64 KiB is MQTT's own limit) included.
const PACKET_SLACK_BYTES: usize = 128 * 1024;

/// Largest MQTT packet in either direction. The client's own default of 10 KiB would end the
/// connection at the first larger message, and again after each reconnect.
pub(super) const MAX_PACKET_BYTES: usize = MAX_PAYLOAD_BYTES + PACKET_SLACK_BYTES;

/// From the first packet to the broker's CONNACK, name lookup and TLS included: ten times a slow
/// intercontinental handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes written to the network with one flush.
const BATCH_MAX: usize = 16;

/// The client's options for one connection.
pub(super) fn options(config: &LinkConfig) -> MqttOptions {
    // A literal IPv6 address may come in brackets from a URL; the client wants it bare.
    let host = config.host.trim_start_matches('[').trim_end_matches(']');
    let mut options = MqttOptions::new(config.client_id.as_str(), (host, config.port));
    let mut network = NetworkOptions::new();
    // Nagle's algorithm costs 40 ms per small message.
    network.set_tcp_nodelay(true);
    options
        .set_keep_alive(config.keep_alive_s)
        .set_clean_start(false)
        .set_session_expiry_interval(Some(config.session_expiry_s))
        .set_session_store_arc(Arc::new(NothingInFlight))
        .set_max_packet_size(u32::try_from(MAX_PACKET_BYTES).ok())
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_max_request_batch(BATCH_MAX)
        .set_connect_timeout(CONNECT_TIMEOUT)
        .set_network_options(network);
    if let Some(tls) = &config.tls {
        let tls = TlsConfiguration::Rustls(Arc::clone(tls));
        options.set_transport(Transport::tls_with_config(tls));
    }
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user.as_str(), password.clone());
    }
    if let Some(will) = &config.will {
        options.set_last_will(LastWill::new(
            will.topic.as_str(),
            will.payload.to_vec(),
            qos(will.at_least_once),
            will.retain,
            None,
        ));
    }
    options
}

/// At least once is QoS 1; exactly once is never used, because the messages are idempotent.
pub(super) fn qos(at_least_once: bool) -> QoS {
    if at_least_once {
        QoS::AtLeastOnce
    } else {
        QoS::AtMostOnce
    }
}

/// A session store that always remembers the same: we have nothing in flight.
///
/// It is true, because the owner's outbox resends what was not answered. And it is needed: without
/// a store the client refuses a session that only the broker remembers, or (with the policy
/// `AllowBrokerOnly`) accepts it but then rejects every QoS 1 publish and every subscribe.
#[derive(Debug)]
struct NothingInFlight;

type StoreFuture<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, rumqttc::SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> StoreFuture<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(IN_FLIGHT_MAX),
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
