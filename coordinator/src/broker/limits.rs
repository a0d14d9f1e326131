//! Every limit of the embedded broker. mqtt5's own defaults (plaintext on all addresses, packets of
//! 256 MiB, sessions that never end, nothing bounded) are for a laboratory; none is left in force.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::config::{
    AuthConfig, ChangeOnlyDeliveryConfig, EchoSuppressionConfig, StorageBackend, StorageConfig,
};
use mqtt5::broker::{BrokerConfig, ResourceLimits, ResourceMonitor};
use nodemedic_protocol::codec::MESSAGE_MAX_BYTES;

/// Connections at once. The embedded broker is for small fleets; at this size an external one is
/// due, and 4,096 file descriptors still fit the service's limit.
pub(super) const CONNECTIONS_MAX: usize = 4096;

/// A CONNECT that has not finished TLS by then is a port scanner or a dying host.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest keep-alive that a client may ask, and it must ask for one: a half-open connection must
/// not hold a place for ever. Agents use a few seconds.
pub(super) const KEEP_ALIVE_MAX_S: u16 = 300;

/// Largest message, its topic (four names of 63 bytes), and the properties that MQTT adds.
const PACKET_MAX_BYTES: usize = MESSAGE_MAX_BYTES + 64 * 1024;

/// A session that nobody resumed for an hour is forgotten: agents keep what matters in a spool of
/// their own and lose nothing with it.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);

/// The coordinator has eight, a node three.
const SUBSCRIPTIONS_PER_CLIENT_MAX: usize = 16;

/// Presence and health of every connection, the coordinator's state, and as much again for nodes
/// that have left for good.
const RETAINED_MAX: usize = 4 * CONNECTIONS_MAX;

/// Messages in memory for one slow reader, each way; then its senders wait.
const CHANNEL_MESSAGES: usize = 256;

/// Sent to one client and not yet acknowledged.
const INFLIGHT_MAX: u16 = 64;

/// Received from one client and not yet acknowledged.
const RECEIVE_MAX: u16 = 128;

/// Kept for a client that is away: a few minutes of commands or reports. What is lost beyond it is
/// sent again by whoever needs it (desired state, spools).
const QUEUE_MESSAGES_MAX: usize = 1000;

/// The same in bytes.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Messages per second of one node. A node that replays a full spool stays below a tenth.
const NODE_MESSAGES_PER_S: u32 = 1000;

/// Bytes per second of one node: a full spool in well under a minute.
const NODE_BYTES_PER_S: u64 = 32 << 20;

/// How often expired sessions and messages are swept from the disk.
const CLEANUP_EVERY: Duration = Duration::from_secs(600);

/// The broker with its own listener at `private`.
pub(super) fn config(private: SocketAddr, directory: &Path) -> BrokerConfig {
    BrokerConfig {
        bind_addresses: vec![private],
        max_clients: CONNECTIONS_MAX,
        session_expiry_interval: SESSION_EXPIRY,
        max_packet_size: PACKET_MAX_BYTES,
        topic_alias_maximum: 0,
        retain_available: true,
        maximum_qos: 1,
        wildcard_subscription_available: true,
        subscription_identifier_available: false,
        shared_subscription_available: false,
        max_subscriptions_per_client: SUBSCRIPTIONS_PER_CLIENT_MAX,
        max_retained_messages: RETAINED_MAX,
        max_retained_message_size: MESSAGE_MAX_BYTES,
        client_channel_capacity: CHANNEL_MESSAGES,
        max_outbound_inflight: INFLIGHT_MAX,
        drain_batch: usize::from(INFLIGHT_MAX),
        server_keep_alive: None,
        server_receive_maximum: Some(RECEIVE_MAX),
        response_information: None,
        // Lets everybody in, and is replaced by a guard of ours before anything is served.
        auth_config: AuthConfig::default(),
        tls_config: None,
        websocket_config: None,
        websocket_tls_config: None,
        quic_config: None,
        cluster_listener_config: None,
        storage_config: StorageConfig {
            backend: StorageBackend::File,
            base_dir: directory.to_owned(),
            cleanup_interval: CLEANUP_EVERY,
            enable_persistence: true,
            max_queued_messages_per_client: QUEUE_MESSAGES_MAX,
            max_queued_bytes_per_client: QUEUE_BYTES_MAX,
        },
        change_only_delivery_config: ChangeOnlyDeliveryConfig::default(),
        echo_suppression_config: EchoSuppressionConfig::default(),
        sys_topics_enabled: false,
        max_outbound_rate_per_client: 0,
        // The coordinator speaks to all nodes at once and is us; nodes are bounded below.
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: 0,
        bridges: Vec::new(),
        load_balancer: None,
        event_handler: None,
        ..BrokerConfig::default()
    }
}

/// What one node may send. The public door counts connections itself.
pub(super) fn node_resources() -> Arc<ResourceMonitor> {
    Arc::new(ResourceMonitor::new(ResourceLimits {
        max_connections: CONNECTIONS_MAX,
        max_connections_per_ip: CONNECTIONS_MAX,
        max_message_rate_per_client: NODE_MESSAGES_PER_S,
        max_bandwidth_per_client: NODE_BYTES_PER_S,
        max_connection_rate: u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX),
        rate_limit_window: Duration::from_secs(1),
    }))
}
