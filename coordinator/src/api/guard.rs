//! Who may ask.
//!
//! - With a token: whoever shows it, as `Authorization: Bearer TOKEN`, or as the password of HTTP
//!   Basic (any user name), which is what a browser can do for the page.
//! - Without one (loopback only): everybody on this machine. A web site in an operator's browser is
//!   not on this machine, though its requests are; so the Host must be a name of loopback (a
//!   re-bound DNS name is not), and
//! - always: what changes something must not come from a page of another origin.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Failure;
use crate::config::ApiConfig;
use crate::secret;

/// The rules for one listener.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    token: Option<Arc<str>>,
}

impl Guard {
    pub(super) fn new(config: &ApiConfig) -> Guard {
        Guard {
            token: config.token.as_deref().map(Arc::from),
        }
    }

    fn admits(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Failure> {
        // A load balancer asks without a secret, and learns nothing but "alive".
        if path == "/healthz" {
            return Ok(());
        }
        match &self.token {
            Some(token) if shown(headers).is_some_and(|s| secret::same(&s, token.as_bytes())) => {}
            Some(_) => {
                return Err(Failure::new(
                    StatusCode::UNAUTHORIZED,
                    "show the token of [api] token_file: `Authorization: Bearer TOKEN`, or as the \
                     password of HTTP Basic",
                ));
            }
            None if host_is_loopback(headers) => {}
            None => {
                return Err(Failure::new(
                    StatusCode::FORBIDDEN,
                    "this coordinator answers to localhost, 127.0.0.1 and [::1] only; to reach it \
                     by another name, set [api] token_file",
                ));
            }
        }
        if !matches!(*method, Method::GET | Method::HEAD) && !same_origin(headers) {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                "a page of another origin may change nothing here",
            ));
        }
        Ok(())
    }
}

/// Runs before every handler.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    match guard.admits(method, uri.path(), headers) {
        Ok(()) => next.run(request).await,
        Err(failure) => {
            let mut response = failure.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let realm =
                    HeaderValue::from_static("Basic realm=\"nodemedic\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, realm);
            }
            response
        }
    }
}

/// The secret that the request shows.
fn shown(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = from_base64(value.trim())?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        return Some(pair[colon + 1..].to_vec());
    }
    None
}

/// RFC 4648 section 4.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// True unless a browser says that another page asks. Programs send neither header.
fn same_origin(headers: &HeaderMap) -> bool {
    let fetched_here = match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin" || site == "none",
        None => true,
    };
    let origin_is_here = match headers.get(ORIGIN) {
        Some(origin) => origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, authority)| Some(authority) == host(headers)),
        None => true,
    };
    fetched_here && origin_is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-long-enough-token";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn status(token: Option<&str>, method: Method, pairs: &[(&'static str, &str)]) -> u16 {
        let guard = Guard {
            token: token.map(Arc::from),
        };
        match guard.admits(&method, "/api/v1/nodes", &headers(pairs)) {
            Ok(()) => 200,
            Err(failure) => failure.into_response().status().as_u16(),
        }
    }

    #[test]
    fn a_rebound_dns_name_is_refused_on_loopback() {
        for good in [
            "localhost:7780",
            "127.0.0.1:7780",
            "[::1]:7780",
            "LOCALHOST",
            "127.9.9.9",
        ] {
            assert_eq!(status(None, Method::GET, &[("host", good)]), 200, "{good}");
        }
        for bad in [
            "evil.example:7780",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "[::2]:7780",
        ] {
            assert_eq!(status(None, Method::GET, &[("host", bad)]), 403, "{bad}");
        }
        assert_eq!(status(None, Method::GET, &[]), 403);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let host = ("host", "localhost:7780");
        let post = |more: (&'static str, &str)| status(None, Method::POST, &[host, more]);
        assert_eq!(status(None, Method::POST, &[host]), 200);
        assert_eq!(post(("origin", "http://localhost:7780")), 200);
        assert_eq!(post(("origin", "http://localhost:8080")), 403);
        assert_eq!(post(("origin", "https://evil.example")), 403);
        assert_eq!(post(("origin", "null")), 403);
        assert_eq!(post(("sec-fetch-site", "cross-site")), 403);
        assert_eq!(post(("sec-fetch-site", "same-site")), 403);
        assert_eq!(
            status(
                None,
                Method::GET,
                &[host, ("origin", "https://evil.example")]
            ),
            200
        );
    }

    #[test]
    fn the_token_opens_as_bearer_and_as_basic_password_and_nothing_else_does() {
        let get = |value: &str| {
            let pairs = [("host", "nodemedic.example"), ("authorization", value)];
            status(Some(TOKEN), Method::GET, &pairs)
        };
        assert_eq!(get("Bearer a-long-enough-token"), 200);
        // `echo -n on-call:a-long-enough-token | base64`
        assert_eq!(get("Basic b24tY2FsbDphLWxvbmctZW5vdWdoLXRva2Vu"), 200);
        for bad in [
            "Bearer a-long-enough-toke",
            "Bearer ",
            "Basic !!",
            "Basic b24tY2FsbA==",
            "x",
        ] {
            assert_eq!(get(bad), 401, "{bad}");
        }
        assert_eq!(
            status(Some(TOKEN), Method::GET, &[("host", "localhost")]),
            401
        );
    }
}
