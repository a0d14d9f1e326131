//! Are the certificates in their time, and is ours of the right name?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodemedic_edge::{clock, files};
use nodemedic_protocol::WallTime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Place, Row, fine, gather, missing, warning};

/// Whoever renews by hand wants to know a month before.
const SOON_DAYS: i64 = 30;

const PEM_MAX_BYTES: usize = 1 << 20;

const MS_PER_DAY: i64 = 24 * 3600 * 1000;

/// One certificate as far as it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    role: &'static str,
    path: PathBuf,
    /// Common name, and the days until it is refused: negative after.
    found: Result<(String, i64), String>,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let wanted = place.wanted();
    let Some(broker) = wanted.broker.filter(|b| b.url.starts_with("mqtts://")) else {
        return vec![fine("used", "none: the broker is not spoken to over TLS")];
    };
    let node = match (&place.agent, wanted.node) {
        (_, Some(node)) => Some(node),
        (Ok(running), None) => Some(running.status.node.to_string()),
        (Err(_), None) => super::word("/proc/sys/kernel/hostname"),
    };
    let seen = gather(place, move |_| {
        let files = [("authority", broker.ca), ("ours", broker.certificate)];
        let files = files
            .into_iter()
            .filter_map(|(role, path)| Some((role, path?)));
        let now = clock::wall();
        files
            .map(|(role, path)| see(role, &path, now))
            .collect::<Vec<_>>()
    });
    let seen = seen.await.unwrap_or_default();
    seen.iter()
        .flat_map(|seen| judge(seen, node.as_deref()))
        .collect()
}

fn see(role: &'static str, path: &Path, now: WallTime) -> Seen {
    let found = files::read_capped(path, PEM_MAX_BYTES)
        .map_err(|error| error.to_string())
        .and_then(|pem| pem.ok_or_else(|| "there is no such file".to_owned()))
        .and_then(|pem| read(&pem, now));
    Seen {
        role,
        path: path.to_owned(),
        found,
    }
}

fn read(pem: &[u8], now: WallTime) -> Result<(String, i64), String> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let name = certificate.subject().iter_common_name().next();
    let name = name.and_then(|name| name.as_str().ok()).unwrap_or("-");
    let until_ms = certificate
        .validity()
        .not_after
        .timestamp()
        .saturating_mul(1000);
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    Ok((
        name.to_owned(),
        until_ms.saturating_sub(now_ms).div_euclid(MS_PER_DAY),
    ))
}

fn judge(seen: &Seen, node: Option<&str>) -> Vec<Row> {
    let path = seen.path.display();
    let costs = "the broker is not spoken to: nobody else hears of this host";
    let (name, days) = match &seen.found {
        Ok(found) => found,
        Err(why) => {
            let text = format!("{path}: {why}");
            return vec![missing(
                seen.role,
                text,
                costs,
                "see [broker] in the configuration",
            )];
        }
    };
    let text = format!("{name}, {days} days left ({path})");
    let mut rows = vec![match *days {
        i64::MIN..0 => missing(
            seen.role,
            format!("{name}, over ({path})"),
            costs,
            "renew it now",
        ),
        0..SOON_DAYS => warning(
            seen.role,
            text,
            "when it is over the broker is not spoken to any more",
            "renew it; systemctl restart nodemedic-agent takes the new one",
        ),
        _ => fine(seen.role, text),
    }];
    if seen.role == "ours"
        && let Some(node) = node
        && node != name
    {
        rows.push(missing(
            "name",
            format!("{path} is of {name}, this host is {node}"),
            "the coordinator's broker refuses it: a host speaks only for itself",
            format!("a certificate with the common name {node}, or node = \"{name}\""),
        ));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn seen(role: &'static str, name: &str, days: i64) -> Seen {
        Seen {
            role,
            path: "/c.pem".into(),
            found: Ok((name.to_owned(), days)),
        }
    }

    #[test]
    fn time_left_and_name_are_judged() {
        let of = |seen: &Seen| {
            let rows = judge(seen, Some("node-1"));
            rows.iter().map(|row| row.state).max().unwrap()
        };
        assert_eq!(of(&seen("ours", "node-1", 300)), State::Ok);
        assert_eq!(of(&seen("ours", "node-1", 29)), State::Warning);
        assert_eq!(of(&seen("ours", "node-1", 0)), State::Warning);
        assert_eq!(of(&seen("ours", "node-1", -1)), State::Missing);
        assert_eq!(of(&seen("ours", "node-2", 300)), State::Missing);
        assert_eq!(
            of(&seen("authority", "any", 300)),
            State::Ok,
            "its name is its own"
        );
        let gone = Seen {
            found: Err("there is no such file".to_owned()),
            ..seen("ours", "", 0)
        };
        assert_eq!(of(&gone), State::Missing);
    }

    #[test]
    fn a_real_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "node-1");
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        // 2030-01-01 12:00 and 2030-01-03, in milliseconds.
        let noon = WallTime(1_893_499_200_000);
        assert_eq!(read(pem.as_bytes(), noon), Ok(("node-1".to_owned(), 0)));
        let after = WallTime(1_893_628_800_000);
        assert_eq!(read(pem.as_bytes(), after).unwrap().1, -1);
        assert!(read(b"nonsense", noon).is_err());
    }
}
