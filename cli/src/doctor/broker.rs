//! Can the broker be reached, and do both sides of TLS accept each other?
//!
//! Nothing is said in MQTT: a second client of this name would push the agent off the broker.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use nodemedic_edge::tls;
use rustls::pki_types::ServerName;

use super::place::WantedBroker;
use super::{Place, Row, fine, gather, missing, warning};

/// For each address of the broker.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// TLS 1.3 refuses a client's certificate only after the handshake: so long its word is awaited.
const REFUSAL_WITHIN: Duration = Duration::from_millis(500);

/// Ports of MQTT, by IANA.
const PORT_PLAIN: u16 = 1883;
const PORT_TLS: u16 = 8883;

/// How far it went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reached {
    /// The address is no address of a broker.
    Unread,
    /// Its name stands for nothing.
    Unnamed(String),
    /// Nobody takes the connection.
    Refused(String),
    /// The files for TLS cannot be used.
    NoFiles(String),
    /// The other side is not believed, or does not believe us.
    NoTrust(String),
    /// All well; by which protocol.
    Done(String),
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let Some(broker) = place.wanted().broker else {
        return vec![warning(
            "configured",
            "no [broker]: this host works alone",
            "it heals itself, and nobody else hears of it: no fleet work, no page",
            format!("put [broker] into {}", place.config_path.display()),
        )];
    };
    let url = broker.url.clone();
    let reached = gather(place, move |_| reach(&broker)).await;
    reached.map_or_else(Vec::new, |reached| judge(&url, &reached))
}

/// Whether by TLS, name and port.
fn address(url: &str) -> Option<(bool, String, u16)> {
    let (secure, rest) = match url.split_once("://")? {
        ("mqtts", rest) => (true, rest),
        ("mqtt", rest) => (false, rest),
        _ => return None,
    };
    let default = if secure { PORT_TLS } else { PORT_PLAIN };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.find(':').map_or((rest, ""), |at| rest.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None => default,
    };
    (!host.is_empty()).then(|| (secure, host.to_owned(), port))
}

fn reach(broker: &WantedBroker) -> Reached {
    let Some((secure, host, port)) = address(&broker.url) else {
        return Reached::Unread;
    };
    let addresses: Vec<SocketAddr> = match (host.as_str(), port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Reached::Unnamed(format!("{host}: {error}")),
    };
    let mut refused = format!("{host} has no address");
    let mut found = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(stream) => {
                found = Some((stream, address));
                break;
            }
            Err(error) => refused = format!("{address}: {error}"),
        }
    }
    let Some((stream, address)) = found else {
        return Reached::Refused(refused);
    };
    if secure {
        handshake(broker, &host, stream, address)
    } else {
        Reached::Done(format!("{address}, without TLS"))
    }
}

fn handshake(
    broker: &WantedBroker,
    host: &str,
    mut stream: TcpStream,
    address: SocketAddr,
) -> Reached {
    let Some(ca) = &broker.ca else {
        return Reached::NoFiles("mqtts:// needs ca".to_owned());
    };
    let own = broker.certificate.as_deref().zip(broker.key.as_deref());
    let config = match tls::client_config(ca, own) {
        Ok(config) => config,
        Err(error) => return Reached::NoFiles(error.to_string()),
    };
    let connection = ServerName::try_from(host.to_owned())
        .map_err(|error| error.to_string())
        .and_then(|name| {
            rustls::ClientConnection::new(config, name).map_err(|error| error.to_string())
        });
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return Reached::NoTrust(error),
    };
    let patience = stream
        .set_read_timeout(Some(CONNECT_WITHIN))
        .and_then(|()| stream.set_write_timeout(Some(CONNECT_WITHIN)));
    if let Err(error) = patience.and_then(|()| connection.complete_io(&mut stream).map(drop)) {
        return Reached::NoTrust(error.to_string());
    }
    let version = connection
        .protocol_version()
        .and_then(|v| v.as_str().map(str::to_owned));
    let version = version.unwrap_or_else(|| "TLS".to_owned());
    // Silence is consent: a broker waits for our first word.
    let _ = stream.set_read_timeout(Some(REFUSAL_WITHIN));
    let mut byte = [0];
    match rustls::Stream::new(&mut connection, &mut stream).read(&mut byte) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        Err(error) => return Reached::NoTrust(error.to_string()),
        Ok(0) => return Reached::NoTrust("it hung up after the handshake".to_owned()),
        Ok(_) => {}
    }
    Reached::Done(format!(
        "{address}, {version}, both sides believe each other"
    ))
}

fn judge(url: &str, reached: &Reached) -> Vec<Row> {
    let costs = "nobody else hears of this host: no page, no fleet work; its events wait on disk";
    let (check, seen, remedy) = match reached {
        Reached::Done(how) => return vec![fine("reached", how.as_str())],
        Reached::Unread => (
            "address",
            format!("{url:?} is no address of a broker"),
            "write mqtts://HOST or mqtts://HOST:PORT",
        ),
        Reached::Unnamed(why) => (
            "name",
            why.clone(),
            "see the name service: getent hosts NAME",
        ),
        Reached::Refused(why) => (
            "reached",
            why.clone(),
            "is the coordinator or the broker running there, and does a firewall lie between?",
        ),
        Reached::NoFiles(why) => ("files", why.clone(), "see [broker] ca, certificate and key"),
        Reached::NoTrust(why) => (
            "trusted",
            why.clone(),
            "ca must be the authority of the broker's certificate, whose name must be that of the \
             url; our certificate must be of the authority that the broker asks for",
        ),
    };
    vec![missing(check, seen, costs, remedy)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use std::net::TcpListener;

    fn broker(url: &str) -> WantedBroker {
        WantedBroker {
            url: url.to_owned(),
            ..WantedBroker::default()
        }
    }

    #[test]
    fn addresses_are_read_as_the_agent_reads_them() {
        let read = |url| address(url).map(|(tls, host, port)| format!("{tls} {host} {port}"));
        assert_eq!(read("mqtts://a.example").unwrap(), "true a.example 8883");
        assert_eq!(read("mqtt://127.0.0.1:77/").unwrap(), "false 127.0.0.1 77");
        assert_eq!(read("mqtts://[::1]:5").unwrap(), "true ::1 5");
        for bad in ["", "http://a", "mqtt://", "mqtt://a:x", "mqtts://[::1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_step_that_fails_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let reached = reach(&broker(&format!("mqtt://{open}")));
        assert!(matches!(reached, Reached::Done(_)), "{reached:?}");
        assert_eq!(judge("u", &reached)[0].state, State::Ok);
        drop(listener);
        let refused = reach(&broker(&format!("mqtt://{open}")));
        assert!(matches!(refused, Reached::Refused(_)), "{refused:?}");
        assert_eq!(judge("u", &refused)[0].state, State::Missing);
        assert_eq!(reach(&broker("amqp://x")), Reached::Unread);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mqtts://{}", listener.local_addr().unwrap());
        assert!(matches!(reach(&broker(&url)), Reached::NoFiles(_)));
    }
}
