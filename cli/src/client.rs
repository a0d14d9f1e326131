//! The coordinator's HTTP API, as calls. Every call has a deadline and every answer a size limit.

use std::path::Path;
use std::time::Duration;

use nodemedic_edge::files;
use nodemedic_protocol::api::{
    Accepted, AlertView, ApiError, BrakeReleaseRequest, BrakeView, CancelFenceRequest,
    ConfirmDownRequest, CordonRequest, DrainRequest, EventsPage, FenceRequest, FencesView,
    ForgetRequest, NodeView, PutWork, StatusView, TrustDeviceRequest, WorkView,
};
use nodemedic_protocol::{DeviceName, NodeId, WorkName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Kind};
use crate::trust::tls_config;

/// A coordinator that is up answers within milliseconds; one that does not within this is as good
/// as away for somebody who waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An unreachable host shows itself sooner than a slow one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A fleet of 10,000 nodes with 50 conditions each stays below this.
const ANSWER_MAX_BYTES: u64 = 256 << 20;

/// A token is a line.
const TOKEN_MAX_BYTES: usize = 4096;

/// Longest wait that is asked of the coordinator for new events; below [`CALL_TIMEOUT`], so that a
/// quiet fleet is no timeout.
pub const FOLLOW_WAIT_MS: u64 = 5000;

/// Which part of the journal to read.
#[derive(Clone, Debug, Default)]
pub struct EventsQuery {
    /// What comes after this number; `None` asks for the newest.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
    /// If there are none yet, wait so long for one.
    pub wait_ms: u64,
    /// Of one node only.
    pub node: Option<NodeId>,
}

/// A coordinator that can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client for the coordinator at `url`; nothing is sent yet.
    pub fn new(url: &str, token_file: Option<&Path>, ca: Option<&Path>) -> Result<Client, Failure> {
        let base = url.trim_end_matches('/');
        let rest = base
            .strip_prefix("http://")
            .or_else(|| base.strip_prefix("https://"));
        if rest.is_none_or(str::is_empty) {
            return Err(Failure::usage(
                format!("{url:?} is not the address of a coordinator"),
                "give --url (or NODEMEDIC_URL) as http://HOST:PORT or https://HOST:PORT",
            ));
        }
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(CALL_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // A coordinator is asked directly: a proxy meant for the internet would only hide why
            // it cannot be reached.
            .proxy(None);
        if base.starts_with("https://") {
            config = config.tls_config(tls_config(ca)?);
        }
        let token = token_file.map(read_token).transpose()?;
        Ok(Client {
            agent: config.build().into(),
            base: base.to_owned(),
            token,
        })
    }

    /// The address that is asked.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The coordinator at a glance.
    pub fn status(&self) -> Result<StatusView, Failure> {
        self.get("status")
    }

    /// All nodes.
    pub fn nodes(&self) -> Result<Vec<NodeView>, Failure> {
        self.get("nodes")
    }

    /// One node.
    pub fn node(&self, node: &NodeId) -> Result<NodeView, Failure> {
        self.get(&format!("nodes/{node}"))
    }

    /// All works.
    pub fn works(&self) -> Result<Vec<WorkView>, Failure> {
        self.get("work")
    }

    /// All alerts that are open or were so lately.
    pub fn alerts(&self) -> Result<Vec<AlertView>, Failure> {
        self.get("alerts")
    }

    /// A part of the journal.
    pub fn events(&self, query: &EventsQuery) -> Result<EventsPage, Failure> {
        let mut path = format!("events?limit={}&wait_ms={}", query.limit, query.wait_ms);
        if let Some(after) = query.after {
            path.push_str(&format!("&after={after}"));
        }
        if let Some(node) = &query.node {
            path.push_str(&format!("&node={node}"));
        }
        self.get(&path)
    }

    /// Declares or changes works.
    pub fn put_work(&self, works: &PutWork) -> Result<Accepted, Failure> {
        let body = encode(works)?;
        let request = self.agent.put(self.url("work"));
        let request = self.signed(request).content_type("application/json");
        self.answered("PUT", "work", request.send(body.as_slice()))
    }

    /// Removes a work.
    pub fn remove_work(&self, work: &WorkName) -> Result<Accepted, Failure> {
        let path = format!("work/{work}");
        let request = self.signed(self.agent.delete(self.url(&path)));
        self.answered("DELETE", &path, request.call())
    }

    /// Moves all work off a node.
    pub fn drain(&self, node: &NodeId, request: &DrainRequest) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/drain"), request)
    }

    /// The storm brake.
    pub fn brake(&self) -> Result<BrakeView, Failure> {
        self.get("brake")
    }

    /// A person's word that a mass loss is real.
    pub fn release_brake(&self, request: &BrakeReleaseRequest) -> Result<Accepted, Failure> {
        self.post("brake/release", request)
    }

    /// Lets a drained node take work again.
    pub fn undrain(&self, node: &NodeId) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/undrain"), &Nothing {})
    }

    /// Gives a node no new work.
    pub fn cordon(&self, node: &NodeId, request: &CordonRequest) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/cordon"), request)
    }

    /// Lets a cordoned node take new work again.
    pub fn uncordon(&self, node: &NodeId) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/uncordon"), &Nothing {})
    }

    /// A person's word that nothing runs on a node any more.
    pub fn confirm_down(
        &self,
        node: &NodeId,
        request: &ConfirmDownRequest,
    ) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/confirm-down"), request)
    }

    /// Every fence device and every fence that is under way.
    pub fn fences(&self) -> Result<FencesView, Failure> {
        self.get("fences")
    }

    /// Switches a host off, and proves it.
    pub fn fence(&self, node: &NodeId, request: &FenceRequest) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/fence"), request)
    }

    /// Asks the fence devices of a node nothing more.
    pub fn cancel_fence(
        &self,
        node: &NodeId,
        request: &CancelFenceRequest,
    ) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/cancel-fence"), request)
    }

    /// A person's word that a fence device may be believed again.
    pub fn trust_device(
        &self,
        device: &DeviceName,
        request: &TrustDeviceRequest,
    ) -> Result<Accepted, Failure> {
        self.post(&format!("fence-devices/{device}/trust"), request)
    }

    /// A node is gone for good.
    pub fn forget(&self, node: &NodeId, request: &ForgetRequest) -> Result<Accepted, Failure> {
        self.post(&format!("nodes/{node}/forget"), request)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.signed(self.agent.get(self.url(path)));
        self.answered("GET", path, request.call())
    }

    fn post<B: Serialize>(&self, path: &str, body: &B) -> Result<Accepted, Failure> {
        let body = encode(body)?;
        let request = self.signed(self.agent.post(self.url(path)));
        let request = request.content_type("application/json");
        self.answered("POST", path, request.send(body.as_slice()))
    }

    fn answered<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        let unreachable = |error: ureq::Error| self.unreachable(method, path, &error);
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_to_vec()
            .map_err(unreachable)?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::new(
                    Kind::Failed,
                    format!(
                        "{method} {} gave an answer that cannot be read: {error}",
                        self.url(path)
                    ),
                    "is this the address of a nodemedic coordinator, and of the same version as \
                     this program? (nodemedic --version)",
                )
            });
        }
        Err(self.turned_down(method, path, status, &body))
    }

    fn unreachable(&self, method: &str, path: &str, error: &ureq::Error) -> Failure {
        Failure::new(
            Kind::Unreachable,
            format!(
                "cannot reach the coordinator: {method} {}: {error}",
                self.url(path)
            ),
            "is it running there? Give --url (or NODEMEDIC_URL); `nodemedic up` starts a fleet on \
             this machine",
        )
    }

    fn turned_down(&self, method: &str, path: &str, status: u16, body: &[u8]) -> Failure {
        let said = match serde_json::from_slice::<ApiError>(body) {
            Ok(ApiError { error }) => error,
            Err(_) => crate::out::cut(&String::from_utf8_lossy(body), 200),
        };
        let (kind, remedy) = match status {
            401 | 403 => (Kind::Refused, "give --token-file (or NODEMEDIC_TOKEN_FILE)"),
            404 => (Kind::NotFound, ""),
            400..=499 => (Kind::Refused, ""),
            _ => (Kind::Failed, ""),
        };
        let message = match status {
            400..=499 if !said.is_empty() => said,
            _ => format!("{method} {} answered {status}: {said}", self.url(path)),
        };
        Failure::new(kind, message, remedy)
    }
}

/// The empty object: what a request without parameters carries.
#[derive(Serialize)]
struct Nothing {}

fn encode<B: Serialize>(body: &B) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body)
        .map_err(|error| Failure::failed(format!("cannot write the request: {error}")))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let bytes = files::read_capped(path, TOKEN_MAX_BYTES)
        .map_err(|error| Failure::usage(error.to_string(), "give another --token-file"))?
        .ok_or_else(|| {
            Failure::usage(
                format!("there is no token file {}", path.display()),
                "the coordinator's configuration names it: [api] token_file",
            )
        })?;
    let token = String::from_utf8_lossy(&bytes).trim().to_owned();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::usage(
            format!(
                "the token file {} does not hold one line of visible characters",
                path.display()
            ),
            "the coordinator's configuration names the right file: [api] token_file",
        ));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    /// Answers one request with these bytes, and gives back the request's head.
    fn one_answer(status: &str, body: &str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            head.push_str(&String::from_utf8(body).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
            head
        });
        (url, thread)
    }

    #[test]
    fn a_drain_is_sent_as_the_api_wants_it_with_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        files::write_atomic(&file, b"s3cret\n", 0o600).unwrap();
        let (url, thread) = one_answer("200 OK", r#"{"message":"draining node-1"}"#);
        let client = Client::new(&url, Some(&file), None).unwrap();
        let accepted = client
            .drain(
                &NodeId::new("node-1").unwrap(),
                &DrainRequest {
                    reason: "disk".into(),
                    deadline: None,
                    override_budget: false,
                },
            )
            .unwrap();
        assert_eq!(accepted.message, "draining node-1");
        let request = thread.join().unwrap();
        assert!(
            request.starts_with("POST /api/v1/nodes/node-1/drain HTTP/1.1"),
            "{request}"
        );
        assert!(
            request
                .to_lowercase()
                .contains("authorization: bearer s3cret"),
            "{request}"
        );
        assert!(
            request.ends_with(r#"{"reason":"disk","deadline":null}"#),
            "{request}"
        );
    }

    #[test]
    fn a_node_is_forgotten_as_the_api_wants_it() {
        let (url, thread) = one_answer("200 OK", r#"{"message":"node-1 is forgotten"}"#);
        let client = Client::new(&url, None, None).unwrap();
        let request = ForgetRequest {
            reason: "sold".into(),
        };
        let node = NodeId::new("node-1").unwrap();
        let accepted = client.forget(&node, &request).unwrap();
        assert_eq!(accepted.message, "node-1 is forgotten");
        let request = thread.join().unwrap();
        let line = "POST /api/v1/nodes/node-1/forget HTTP/1.1";
        assert!(request.starts_with(line), "{request}");
        assert!(request.ends_with(r#"{"reason":"sold"}"#), "{request}");
    }

    #[test]
    fn each_status_becomes_its_exit_code_with_the_coordinators_own_words() {
        for (status, kind) in [
            ("404 Not Found", Kind::NotFound),
            ("409 Conflict", Kind::Refused),
            ("401 Unauthorized", Kind::Refused),
            ("500 Internal Server Error", Kind::Failed),
        ] {
            let (url, thread) = one_answer(status, r#"{"error":"no node is called x"}"#);
            let failure = Client::new(&url, None, None).unwrap().nodes().unwrap_err();
            thread.join().unwrap();
            assert_eq!(failure.kind, kind, "{status}");
            assert!(failure.message.contains("no node is called x"), "{failure}");
        }
    }

    #[test]
    fn nobody_there_is_unreachable_and_says_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = Client::new(&url, None, None).unwrap().status().unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        let text = failure.to_string();
        assert!(text.contains(&format!("GET {url}/api/v1/status")), "{text}");
        assert!(text.contains("refused"), "{text}");
        assert!(text.contains("nodemedic up"), "{text}");
    }

    #[test]
    fn an_answer_that_is_not_ours_says_so() {
        let (url, thread) = one_answer("200 OK", "<html>hello</html>");
        let failure = Client::new(&url, None, None).unwrap().nodes().unwrap_err();
        thread.join().unwrap();
        assert_eq!(failure.kind, Kind::Failed);
        assert!(failure.message.contains("cannot be read"), "{failure}");
    }

    #[test]
    fn an_address_without_a_scheme_is_a_usage_error() {
        for bad in ["127.0.0.1:7780", "mqtt://x", "http://", ""] {
            assert_eq!(
                Client::new(bad, None, None).unwrap_err().kind,
                Kind::Usage,
                "{bad}"
            );
        }
    }
}
