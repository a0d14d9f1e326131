//! The coordinator's HTTP API and the agent's local socket, as a test asks them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nodemedic_protocol::api::{EventsPage, JournalEntry};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::netns;

/// No answer of the API takes a tenth of this on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One coordinator's API.
#[derive(Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
    namespace: Option<String>,
}

impl Api {
    /// At this port of the loopback.
    #[must_use]
    pub fn new(port: u16) -> Api {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build()
            .into();
        Api {
            base: format!("http://127.0.0.1:{port}"),
            agent,
            namespace: None,
        }
    }

    /// At this port of the loopback of a network namespace.
    #[must_use]
    pub fn in_namespace(namespace: String, port: u16) -> Api {
        Api {
            namespace: Some(namespace),
            ..Api::new(port)
        }
    }

    fn there<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        match &self.namespace {
            Some(namespace) => netns::within(namespace, call),
            None => call(),
        }
    }

    /// GET.
    ///
    /// # Errors
    /// No connection, a status other than 200, or another shape.
    pub fn get<T: DeserializeOwned + Send>(&self, path: &str) -> Result<T, String> {
        let url = format!("{}{path}", self.base);
        self.there(|| read(path, self.agent.get(url).call()))
    }

    /// POST or PUT of a JSON body.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn send<T: DeserializeOwned + Send>(
        &self,
        method: &str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, String> {
        let url = format!("{}{path}", self.base);
        let request = match method {
            "PUT" => self.agent.put(url),
            _ => self.agent.post(url),
        };
        self.there(|| read(path, request.send_json(body)))
    }
}

fn read<T: DeserializeOwned>(
    path: &str,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<T, String> {
    let mut response = response.map_err(|e| format!("{path}: {e}"))?;
    let status = response.status();
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|e| format!("{path}: {e}"))?;
    if !status.is_success() {
        return Err(format!("{path}: {status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))
}

/// The coordinator's whole journal, oldest first.
///
/// # Errors
/// When the API does not answer.
pub fn whole_journal(api: &Api) -> Result<Vec<JournalEntry>, String> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page: EventsPage = api.get(&format!("/api/v1/events?after={after}&limit=500"))?;
        if page.entries.is_empty() {
            return Ok(all);
        }
        after = page.last;
        all.extend(page.entries);
    }
}

/// GET of any URL: status and body.
///
/// # Errors
/// No connection or no answer in a second.
pub fn http_get(url: &str) -> Result<(u16, String), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(1)))
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|e| e.to_string())?;
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|e| e.to_string())?;
    Ok((response.status().as_u16(), text))
}

/// One question to an agent's local socket.
///
/// # Errors
/// No connection, no answer in a second, or another shape.
pub fn ask_agent(socket: &Path, request: &LocalRequest) -> Result<LocalResponse, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .map_err(failed)?;
    let mut line = serde_json::to_string(request).map_err(|e| e.to_string())?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(failed)?;
    serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))
}
