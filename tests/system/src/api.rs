//! The coordinator's HTTP API and the agent's local socket, as a test asks them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nodemedic_protocol::local::{LocalRequest, LocalResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// No answer of the API takes a tenth of this on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One coordinator's API.
#[derive(Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
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
        }
    }

    /// GET.
    ///
    /// # Errors
    /// No connection, a status other than 200, or another shape.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let response = self.agent.get(format!("{}{path}", self.base)).call();
        read(path, response)
    }

    /// POST or PUT of a JSON body.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, String> {
        let url = format!("{}{path}", self.base);
        let request = match method {
            "PUT" => self.agent.put(url),
            _ => self.agent.post(url),
        };
        read(path, request.send_json(body))
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
