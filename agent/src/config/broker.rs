//! The address of the broker and the files that prove who is who.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Mistake;
use super::raw::RawBroker;

/// The port of MQTT, by IANA.
const PORT_PLAIN: u16 = 1883;

/// The port of MQTT over TLS, by IANA.
const PORT_TLS: u16 = 8883;

/// How to reach the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Files for TLS; absent for plaintext.
    pub tls: Option<BrokerTls>,
}

/// Files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerTls {
    /// Certificate of the authority.
    pub ca: PathBuf,
    /// Our own certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

pub(super) fn broker(raw: RawBroker) -> Result<Broker, Mistake> {
    let url = |message: String| Mistake::at(&["broker", "url"], message);
    let (secure, rest) = match raw.url.split_once("://") {
        Some(("mqtts", rest)) => (true, rest),
        Some(("mqtt", rest)) => (false, rest),
        _ => {
            return Err(url(format!(
                "{:?} is no address of a broker: write \"mqtts://HOST\" or \"mqtts://HOST:PORT\"",
                raw.url
            )));
        }
    };
    let (host, port) =
        address(rest, if secure { PORT_TLS } else { PORT_PLAIN }).ok_or_else(|| {
            url(format!(
                "{rest:?} is no host with an optional port: write \"broker.example:8883\" or \
             \"[2001:db8::1]:8883\""
            ))
        })?;
    if !secure && !is_loopback(&host) && !raw.allow_plaintext {
        return Err(url(format!(
            "mqtt:// would send everything readable to {host}: use mqtts://, or set \
             allow_plaintext = true beside it if the network between is trusted"
        )));
    }
    let tls = match (secure, raw.ca, raw.certificate, raw.key) {
        (false, None, None, None) => None,
        (false, ..) => {
            return Err(url(
                "mqtt:// uses no certificates: write mqtts://, or remove ca, certificate and key"
                    .to_owned(),
            ));
        }
        (true, None, ..) => {
            return Err(Mistake::at(
                &["broker"],
                "mqtts:// needs ca, the certificate of the authority that signed the broker's",
            ));
        }
        (true, Some(ca), Some(certificate), Some(key)) => Some(BrokerTls {
            ca,
            own: Some((certificate, key)),
        }),
        (true, Some(ca), None, None) => Some(BrokerTls { ca, own: None }),
        (true, Some(_), ..) => {
            return Err(Mistake::at(
                &["broker"],
                "certificate and key belong together: set both or none",
            ));
        }
    };
    Ok(Broker { host, port, tls })
}

/// Host and port; an IPv6 address stands in brackets.
fn address(text: &str, default_port: u16) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<IpAddr>().ok()?;
            (
                host,
                after.strip_prefix(':').or(after.is_empty().then_some(""))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" if !text.ends_with(':') => default_port,
        digits => digits.parse().ok().filter(|port| *port != 0)?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text| address(text, 1883);
        assert_eq!(read("a.example"), Some(("a.example".into(), 1883)));
        assert_eq!(read("a.example:77/"), Some(("a.example".into(), 77)));
        assert_eq!(read("[::1]:77"), Some(("::1".into(), 77)));
        assert_eq!(read("[::1]"), Some(("::1".into(), 1883)));
        for bad in [
            "", ":1", "a:", "a:0", "a:x", "a b", "[::1", "[x]:1", "::1:5", "u@h",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
