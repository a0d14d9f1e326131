//! From text to values that make sense together. Each complaint names the key and says what to
//! write instead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nodemedic_coordinator_core::Settings;
use nodemedic_edge::config::{ConfigError, Place};
use nodemedic_edge::files::read_capped;
use nodemedic_edge::works;
use nodemedic_protocol::{Millis, SiteId};

use super::{ApiConfig, BrokerConfig, ClientTls, Config, TlsFiles, Webhook, raw};
use super::{blast, fence};

/// The agent's own default, so that a fleet with neither set is one fleet.
const DEFAULT_SITE: &str = "default";
const DEFAULT_API: &str = "127.0.0.1:7780";
const DEFAULT_BROKER: &str = "127.0.0.1:1883";
const DEFAULT_DIRECTORY: &str = "/var/lib/nodemedic-coordinator";

/// A token is one line; more is a wrong file.
const TOKEN_FILE_MAX_BYTES: usize = 4096;

/// Shorter tokens can be guessed by asking.
const TOKEN_MIN_CHARS: usize = 16;

/// Below two heartbeats (5 s each) a single lost one would stop exclusive work.
const TERM_MIN: Millis = Millis::from_secs(2);

/// A coordinator that remembers a lease for longer than an hour helps nobody to fail over.
const TERM_MAX: Millis = Millis::from_secs(3600);

/// What an agent accepts as the interval of its heartbeat.
const HEARTBEAT_MIN: Millis = Millis(100);
const HEARTBEAT_MAX: Millis = Millis::from_secs(60);

pub(super) fn check(raw: raw::Config, place: &Place<'_>) -> Result<Config, ConfigError> {
    let site = SiteId::new(raw.site.as_deref().unwrap_or(DEFAULT_SITE))
        .map_err(|error| place.error(&["site"], error.to_string()))?;
    let api = api(raw.api, place)?;
    let broker = broker(raw.broker, place)?;
    let directory = place.path(
        raw.state
            .directory
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DIRECTORY)),
    );
    let webhooks = webhooks(raw.webhook, place)?;
    let mut settings = Settings::new(site.clone(), env!("CARGO_PKG_VERSION"));
    lease(raw.lease, &mut settings, place)?;
    liveness(&raw.liveness, &mut settings, place)?;
    settings.budget = blast::budget(&raw.budget, place)?;
    settings.brake = blast::brake(&raw.brake, &settings.liveness, place)?;
    settings.reboot = blast::reboot(&raw.reboot, &settings.liveness, place)?;
    set(
        &mut settings.placement.refused_hold_off,
        raw.placement.refused_hold_off,
    );
    if raw.placement.fenced_hold_off.is_some() {
        settings.placement.fenced_hold_off = raw.placement.fenced_hold_off;
    }
    set(&mut settings.alerts.unplaced_for, raw.alerts.unplaced_for);
    set(&mut settings.alerts.retry_first, raw.alerts.retry_first);
    set(&mut settings.alerts.retry_max, raw.alerts.retry_max);
    set(&mut settings.alerts.keep_resolved, raw.alerts.keep_resolved);
    let (fencing, fences) = fence::check(&raw.fencing, raw.fence, raw.fence_node, place)?;
    settings.fencing = fencing;
    settings.alerts.receivers = webhooks.keys().cloned().collect();
    let works = raw
        .work
        .into_iter()
        .map(|(name, work)| works::check(&name, work, place))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Config {
        site,
        api,
        broker,
        directory,
        settings,
        fences,
        webhooks,
        works,
    })
}

pub(super) fn set(value: &mut Millis, wanted: Option<Millis>) {
    if let Some(wanted) = wanted {
        *value = wanted;
    }
}

fn address(text: &str, key: &[&str], place: &Place<'_>) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        place.error(
            key,
            format!(
                "{text:?} is not an address with a port; write for example \"127.0.0.1:7780\" or \
                 \"[::1]:7780\" (an IP address, no host name)"
            ),
        )
    })
}

fn api(raw: raw::Api, place: &Place<'_>) -> Result<ApiConfig, ConfigError> {
    let listen = raw.listen.as_deref().unwrap_or(DEFAULT_API);
    let listen = address(listen, &["api", "listen"], place)?;
    let token = raw
        .token_file
        .map(|file| token(&place.path(file), &["api", "token_file"], place))
        .transpose()?;
    if token.is_none() && !listen.ip().is_loopback() {
        return Err(place.error(
            &["api", "listen"],
            format!(
                "{listen} can be reached from other machines, and whoever reaches it can drain \
                 your fleet; set [api] token_file to a file with a secret of at least \
                 {TOKEN_MIN_CHARS} characters, or listen on 127.0.0.1"
            ),
        ));
    }
    Ok(ApiConfig { listen, token })
}

fn token(file: &Path, key: &[&str], place: &Place<'_>) -> Result<String, ConfigError> {
    let bytes = read_capped(file, TOKEN_FILE_MAX_BYTES)
        .map_err(|error| place.error(key, error.to_string()))?
        .ok_or_else(|| {
            place.error(
                key,
                format!(
                    "there is no file {}; make one, readable by this service only: `openssl rand \
                     -hex 32 | install -m 0600 /dev/stdin {}`",
                    file.display(),
                    file.display()
                ),
            )
        })?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    if text.len() < TOKEN_MIN_CHARS || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(place.error(
            key,
            format!(
                "{} must hold one line of at least {TOKEN_MIN_CHARS} printable characters \
                 without spaces",
                file.display()
            ),
        ));
    }
    Ok(text)
}

fn broker(raw: raw::Broker, place: &Place<'_>) -> Result<BrokerConfig, ConfigError> {
    let raw::Broker {
        listen,
        url,
        allow_plaintext,
        ca,
        certificate,
        key,
    } = raw;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((place.path(certificate), place.path(key))),
        (None, None) => None,
        (Some(_), None) => {
            return Err(place.error(
                &["broker", "certificate"],
                "a certificate needs its private key; set [broker] key",
            ));
        }
        (None, Some(_)) => {
            return Err(place.error(
                &["broker", "key"],
                "a private key needs its certificate; set [broker] certificate",
            ));
        }
    };
    let ca = ca.map(|ca| place.path(ca));
    match (listen, url) {
        (Some(_), Some(_)) => Err(place.error(
            &["broker", "url"],
            "[broker] has both listen (the embedded broker) and url (another broker); keep one",
        )),
        (_, Some(url)) => external(&url, allow_plaintext, ca, identity, place),
        (listen, None) => embedded(listen.as_deref(), ca, identity, place),
    }
}

fn embedded(
    listen: Option<&str>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    place: &Place<'_>,
) -> Result<BrokerConfig, ConfigError> {
    let key = ["broker", "listen"];
    let listen = address(listen.unwrap_or(DEFAULT_BROKER), &key, place)?;
    let tls = match (ca, identity) {
        (Some(ca), Some((certificate, key))) => Some(TlsFiles {
            ca,
            certificate,
            key,
        }),
        (None, None) => None,
        (ca, _) => {
            let lacking = if ca.is_some() {
                "certificate and key"
            } else {
                "ca"
            };
            return Err(place.error(
                &["broker"],
                format!(
                    "TLS of the embedded broker needs ca, certificate and key; {lacking} is \
                     missing"
                ),
            ));
        }
    };
    if tls.is_none() && !listen.ip().is_loopback() {
        return Err(place.error(
            &key,
            format!(
                "{listen} can be reached from other machines, and plaintext there would let \
                 anybody command your hosts; set [broker] ca, certificate and key, or listen on \
                 127.0.0.1"
            ),
        ));
    }
    Ok(BrokerConfig::Embedded { listen, tls })
}

fn external(
    url: &str,
    allow_plaintext: bool,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    place: &Place<'_>,
) -> Result<BrokerConfig, ConfigError> {
    let key = ["broker", "url"];
    let bad = || {
        place.error(
            &key,
            format!("{url:?} is no broker's URL; write mqtts://HOST:8883 or mqtt://127.0.0.1:1883"),
        )
    };
    let (secure, rest) = match url.split_once("://") {
        Some(("mqtts", rest)) => (true, rest),
        Some(("mqtt", rest)) => (false, rest),
        _ => return Err(bad()),
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| bad())?),
        _ => (rest, if secure { 8883 } else { 1883 }),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if host.is_empty() || host.contains(['/', '@', '?']) {
        return Err(bad());
    }
    let loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let tls = match (secure, ca) {
        (true, Some(ca)) => Some(ClientTls { ca, identity }),
        (true, None) => {
            return Err(place.error(
                &key,
                "mqtts:// needs [broker] ca: the authority that signed the broker's certificate",
            ));
        }
        (false, _) if loopback || allow_plaintext => None,
        (false, _) => {
            return Err(place.error(
                &key,
                format!(
                    "mqtt:// to {host} is plaintext over a network; write mqtts:// and set \
                     [broker] ca, or allow_plaintext = true when that network is yours alone"
                ),
            ));
        }
    };
    Ok(BrokerConfig::External { host, port, tls })
}

fn webhooks(
    raw: BTreeMap<String, raw::Webhook>,
    place: &Place<'_>,
) -> Result<BTreeMap<String, Webhook>, ConfigError> {
    let mut webhooks = BTreeMap::new();
    for (name, webhook) in raw {
        let key = ["webhook", name.as_str(), "url"];
        let url: Result<ureq::http::Uri, _> = webhook.url.parse();
        let good = url.is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
        });
        if !good {
            return Err(place.error(
                &key,
                "this is no URL that alerts can be posted to; write http:// or https://, a host, \
                 and a path",
            ));
        }
        let token = webhook
            .token_file
            .map(|file| token(&place.path(file), &["webhook", &name, "token_file"], place))
            .transpose()?;
        webhooks.insert(
            name,
            Webhook {
                url: webhook.url,
                token,
            },
        );
    }
    Ok(webhooks)
}

fn lease(raw: raw::Lease, settings: &mut Settings, place: &Place<'_>) -> Result<(), ConfigError> {
    let lease = &mut settings.lease;
    set(&mut lease.term, raw.term);
    set(&mut lease.margin, raw.margin);
    set(&mut lease.safe_time_min, raw.safe_time_min);
    if let Some(drift) = raw.drift_per_mille {
        lease.drift_per_mille = drift;
    }
    if !(TERM_MIN..=TERM_MAX).contains(&lease.term) {
        return Err(place.error(
            &["lease", "term"],
            format!(
                "{} is not between {TERM_MIN} and {TERM_MAX}: exclusive work stops when no \
                 heartbeat is answered for this long; 20s survives three lost heartbeats",
                lease.term
            ),
        ));
    }
    if lease.drift_per_mille >= 1000 {
        return Err(place.error(
            &["lease", "drift_per_mille"],
            "1000 per mille would be a clock that runs at twice the speed; write how far apart \
             two clocks may run, 10 is ample",
        ));
    }
    Ok(())
}

fn liveness(
    raw: &raw::Liveness,
    settings: &mut Settings,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    let liveness = &mut settings.liveness;
    set(&mut liveness.heartbeat, raw.heartbeat);
    set(&mut liveness.reconnect_within, raw.reconnect_within);
    set(&mut liveness.suspect_after, raw.suspect_after);
    set(&mut liveness.lost_after, raw.lost_after);
    set(&mut liveness.returning_for, raw.returning_for);
    set(&mut liveness.resume_grace_min, raw.resume_grace_min);
    if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&liveness.heartbeat) {
        return Err(place.error(
            &["liveness", "heartbeat"],
            format!(
                "{} is not between {HEARTBEAT_MIN} and {HEARTBEAT_MAX}, as an agent's [heartbeat] \
                 interval is; write the longest of your agents'",
                liveness.heartbeat
            ),
        ));
    }
    if liveness.lost_after <= liveness.suspect_after {
        return Err(place.error(
            &["liveness", "lost_after"],
            format!(
                "a node is lost after {} but suspect only after {}; make lost_after the longer one",
                liveness.lost_after, liveness.suspect_after
            ),
        ));
    }
    Ok(())
}
