//! Plain sentences for what goes wrong between this host and the broker: who refused, why, and
//! what to do.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, PubAckReason, StateError};
use rustls::AlertDescription;

use super::session::CONNECT_TIMEOUT;

/// Why the connection to `peer` (`host:port`) failed or ended. `up` = the broker had accepted it.
pub(super) fn connection_error(error: &ConnectionError, peer: &str, tls: bool, up: bool) -> String {
    if let Some(text) = tls_error(error, peer) {
        return text;
    }
    match error {
        ConnectionError::Timeout(_) => format!(
            "the broker {peer} did not answer within {} s; check its address, port and firewall",
            CONNECT_TIMEOUT.as_secs()
        ),
        ConnectionError::ConnectionRefused(code) => refused(*code, peer),
        ConnectionError::NotConnAck(_) => {
            format!("{peer} does not speak MQTT 5 as a broker does; check the address and port")
        }
        ConnectionError::MqttState(state) => state_error(state, peer, tls, up),
        other => match find::<io::Error>(other) {
            Some(io) => io_error(io, peer, tls, up),
            None => format!("the connection to the broker {peer} failed: {other}"),
        },
    }
}

/// Why the broker refused a publish, with its own words when it said any.
pub(super) fn rejected(reason: PubAckReason, words: Option<&str>) -> String {
    let why = match reason {
        PubAckReason::NotAuthorized => "this client may not publish to the topic".to_owned(),
        PubAckReason::QuotaExceeded => "the broker's quota is used up".to_owned(),
        PubAckReason::TopicNameInvalid => "the broker does not take this topic".to_owned(),
        other => format!("the broker answered {other:?}"),
    };
    match words {
        Some(words) if !words.is_empty() => format!("{why} ({words})"),
        _ => why,
    }
}

/// The broker said no in its CONNACK.
fn refused(code: ConnectReturnCode, peer: &str) -> String {
    match code {
        ConnectReturnCode::NotAuthorized => format!(
            "the broker {peer} says that this client is not authorised; check the certificate or \
             the user name, and the broker's access rules"
        ),
        ConnectReturnCode::BadUserNamePassword => {
            format!("the broker {peer} does not accept the user name or the password")
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            format!("the broker {peer} does not accept this client id; it must fit the certificate")
        }
        ConnectReturnCode::RefusedProtocolVersion
        | ConnectReturnCode::UnsupportedProtocolVersion => {
            format!("the broker {peer} does not speak MQTT 5")
        }
        ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServiceUnavailable
        | ConnectReturnCode::ServerBusy => format!("the broker {peer} is too busy just now"),
        other => format!("the broker {peer} refused the connection: {other:?}"),
    }
}

/// What went wrong after the network connection stood.
fn state_error(state: &StateError, peer: &str, tls: bool, up: bool) -> String {
    match state {
        StateError::ServerDisconnect {
            reason_code,
            reason_string,
        } => {
            let why = match reason_code {
                DisconnectReasonCode::SessionTakenOver => {
                    "another client has connected with the same client id".to_owned()
                }
                DisconnectReasonCode::NotAuthorized => "not authorised".to_owned(),
                DisconnectReasonCode::ServerShuttingDown => "it is shutting down".to_owned(),
                DisconnectReasonCode::KeepAliveTimeout => {
                    "it heard nothing from us for too long".to_owned()
                }
                other => format!("{other:?}"),
            };
            let words = reason_string.as_deref().unwrap_or_default();
            let words = if words.is_empty() {
                String::new()
            } else {
                format!(" ({words})")
            };
            format!("the broker {peer} ended the connection: {why}{words}")
        }
        StateError::AwaitPingResp => {
            format!("the broker {peer} went silent: it did not answer the last ping")
        }
        StateError::ConnectionAborted => closed(peer, tls, up),
        StateError::IncomingPacketTooLarge { pkt_size, max } => {
            format!("the broker {peer} sent a packet of {pkt_size} bytes; the limit is {max}")
        }
        other => match find::<io::Error>(other) {
            Some(io) => io_error(io, peer, tls, up),
            None => match state_io(other) {
                Some(io) => io_error(io, peer, tls, up),
                None => format!("the connection to the broker {peer} broke the protocol: {other}"),
            },
        },
    }
}

/// The system's own words, made plain.
fn io_error(error: &io::Error, peer: &str, tls: bool, up: bool) -> String {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("the broker {peer} refuses connections; is it running there?")
        }
        ErrorKind::TimedOut => {
            format!("the broker {peer} does not answer; check its address, port and firewall")
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("there is no route to the broker {peer}")
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => closed(peer, tls, up),
        // The client's decoder met the end of the stream inside a packet.
        ErrorKind::Other if error.to_string().contains("bytes remaining on stream") => {
            closed(peer, tls, up)
        }
        // The resolver's failures have no kind of their own; its text is the same for every cause.
        _ if error.to_string().contains("failed to lookup address") => format!(
            "the name of the broker {peer} cannot be resolved; check the name and the resolver"
        ),
        _ => format!("the connection to the broker {peer} failed: {error}"),
    }
}

/// The peer hung up without a word.
fn closed(peer: &str, tls: bool, up: bool) -> String {
    match (up, tls) {
        (true, _) => format!("the broker {peer} closed the connection"),
        (false, true) => format!(
            "the broker {peer} closed the connection during the handshake, most often because it \
             does not accept this host's certificate"
        ),
        (false, false) => format!(
            "{peer} closed the connection before it accepted us; it may expect TLS (mqtts://)"
        ),
    }
}

/// What either side said about certificates.
fn tls_error(error: &ConnectionError, peer: &str) -> Option<String> {
    let found = match find::<rustls::Error>(error) {
        Some(found) => found,
        None => match error {
            ConnectionError::MqttState(state) => find::<rustls::Error>(state_io(state)?)?,
            _ => return None,
        },
    };
    Some(match found {
        rustls::Error::AlertReceived(alert) => alert_received(*alert, peer),
        rustls::Error::InvalidCertificate(cause) => format!(
            "the certificate of the broker {peer} is not accepted here: {cause}; check that `ca` \
             is the authority that signed it and that the name in the URL is in it"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!("{peer} does not answer in TLS; is the port one of mqtts?")
        }
        other => format!("TLS with the broker {peer} failed: {other}"),
    })
}

/// The peer's alert; under TLS 1.3 it comes only after the handshake seemed complete.
fn alert_received(alert: AlertDescription, peer: &str) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "it was signed by an authority the broker does not know",
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it has been revoked",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the broker demands one and none was shown"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "it is not acceptable to the broker",
        other => return format!("the broker {peer} ended TLS with the alert {other:?}"),
    };
    format!(
        "the broker {peer} rejected this host's certificate: {why}; check `certificate` and `key`"
    )
}

/// The I/O error inside a state error whose library type does not name it as its source.
fn state_io(state: &StateError) -> Option<&io::Error> {
    match state {
        StateError::Io(io) => Some(io),
        StateError::Deserialization(rumqttc::Error::Io(io)) => Some(io),
        _ => None,
    }
}

/// The first error of type `T` in the chain of causes, also inside I/O errors.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(|io| io.get_ref());
        current = match inside {
            Some(inside) => Some(inside as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
