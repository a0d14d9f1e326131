//! Asks fence devices by their agents, off the event loop: the ClusterLabs fence agent API, to the
//! letter. When and what to ask is the core's decision; here is one call, with a deadline.
//!
//! An agent gets its options on stdin as `key=value` lines and no argument at all, so no secret is
//! in a process list. Exit codes are all that counts: 0 for `off`, `on` and `monitor` is its word
//! that it is done; for `status` 0 is ON and 2 is OFF. Anything else, a signal and a timeout too,
//! is a failure, and never means OFF.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nodemedic_coordinator_core::fencing::{FenceCall, FenceCallId};
use nodemedic_edge::child::{self, ChildError, Finished, Spec};
use nodemedic_protocol::api::{FenceAnswer, FenceVerb};
use nodemedic_protocol::{DeviceName, NodeId};
use tokio::sync::mpsc;

/// Enough for the last words of an agent; a chatty one is cut.
const OUTPUT_MAX_BYTES: usize = 16 * 1024;

/// What is kept of an agent's own words, for people.
const WORDS_MAX_CHARS: usize = 200;

/// Answers that wait for the loop. The core asks each device one thing at a time, so there are
/// never more than devices.
const ANSWERS_MAX: usize = 256;

/// The status exit code for OFF.
const EXIT_OFF: i32 = 2;

/// One device, as its agent must be told of it.
#[derive(Clone, PartialEq, Eq)]
pub struct FenceDevice {
    /// The fence agent.
    pub agent: PathBuf,
    /// Its options, without secrets.
    pub options: BTreeMap<String, String>,
    /// Options whose values no log may show.
    pub secrets: BTreeMap<String, String>,
    /// The nodes that it can fence, each with its plug; an empty plug is not handed over.
    pub plugs: BTreeMap<NodeId, String>,
}

impl std::fmt::Debug for FenceDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FenceDevice")
            .field("agent", &self.agent)
            .field("options", &self.options)
            .field("secrets", &self.secrets.keys())
            .field("plugs", &self.plugs)
            .finish()
    }
}

/// Devices, by name.
pub type Devices = BTreeMap<DeviceName, FenceDevice>;

/// Takes new secrets for devices in which nothing else has changed. A new secret may belong to a
/// new address, so a device that has more changes keeps all that it has.
pub fn renew_secrets(devices: &mut Devices, from: &Devices) {
    for (name, device) in devices {
        let Some(new) = from.get(name) else {
            continue;
        };
        let renewed = FenceDevice {
            secrets: new.secrets.clone(),
            ..device.clone()
        };
        if renewed == *new {
            *device = renewed;
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct Fenced {
    /// Which call.
    pub id: FenceCallId,
    /// What the device said.
    pub answer: FenceAnswer,
}

/// Asks devices.
#[derive(Debug)]
pub struct Fencer {
    devices: BTreeMap<DeviceName, Arc<FenceDevice>>,
    fenced: mpsc::Sender<Fenced>,
}

impl Fencer {
    /// A fencer for these devices; what they say comes through the channel.
    #[must_use]
    pub fn new(devices: Devices) -> (Fencer, mpsc::Receiver<Fenced>) {
        let (fenced, answers) = mpsc::channel(ANSWERS_MAX);
        let devices = shared(devices);
        (Fencer { devices, fenced }, answers)
    }

    /// The next call is told this of its device; one under way goes on with what it was told.
    pub fn renew(&mut self, devices: Devices) {
        self.devices = shared(devices);
    }

    /// Begins one call and returns at once. Must be called inside a tokio runtime.
    pub fn ask(&self, call: FenceCall) {
        let fenced = self.fenced.clone();
        let device = self.devices.get(&call.device).cloned();
        tokio::spawn(async move {
            let answer = match device {
                Some(device) => ask(&device, &call).await,
                None => FenceAnswer::Failed(format!("no [fence.{}] is configured", call.device)),
            };
            if let FenceAnswer::Failed(error) = &answer {
                tracing::warn!("fence device {}: {}: {error}", call.device, call.verb);
            }
            // A loop that has ended hears nothing more; its successor asks again.
            let _ = fenced
                .send(Fenced {
                    id: call.id,
                    answer,
                })
                .await;
        });
    }
}

fn shared(devices: Devices) -> BTreeMap<DeviceName, Arc<FenceDevice>> {
    let devices = devices.into_iter();
    devices
        .map(|(name, device)| (name, Arc::new(device)))
        .collect()
}

/// Runs the agent once.
pub async fn ask(device: &FenceDevice, call: &FenceCall) -> FenceAnswer {
    let finished = child::run(Spec {
        program: device.agent.clone(),
        args: Vec::new(),
        env: BTreeMap::new(),
        cwd: None,
        stdin: stdin(device, call).into_bytes(),
        timeout: call.timeout,
        output_max_bytes: OUTPUT_MAX_BYTES,
    })
    .await;
    match finished {
        Ok(finished) => answer(device, call.verb, &finished),
        // Its words are no part of this text, so no secret is either.
        Err(error @ ChildError::TimedOut { .. }) => {
            FenceAnswer::Failed(format!("{error}; nobody knows what it did"))
        }
        Err(error) => FenceAnswer::Failed(error.to_string()),
    }
}

/// What the agent reads. Of two lines with one key agents take the last, so ours come last.
fn stdin(device: &FenceDevice, call: &FenceCall) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(key);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    };
    for (key, value) in device.options.iter().chain(&device.secrets) {
        line(key, value);
    }
    if let Some(node) = &call.node {
        if let Some(plug) = device.plugs.get(node).filter(|plug| !plug.is_empty()) {
            line("plug", plug);
        }
        line("nodename", node.as_str());
    }
    line("action", &call.verb.to_string());
    text
}

fn answer(device: &FenceDevice, verb: FenceVerb, finished: &Finished) -> FenceAnswer {
    match (verb, finished.code) {
        (FenceVerb::Status, Some(0)) => FenceAnswer::PowerOn,
        (FenceVerb::Status, Some(EXIT_OFF)) => FenceAnswer::PowerOff,
        (FenceVerb::Off | FenceVerb::On | FenceVerb::Monitor, Some(0)) => FenceAnswer::Done,
        (_, Some(code)) => {
            FenceAnswer::Failed(format!("exit code {code}{}", words(device, finished)))
        }
        (_, None) => {
            let signal = finished.signal.unwrap_or(0);
            FenceAnswer::Failed(format!("ended by signal {signal}"))
        }
    }
}

/// The agent's last line, without a secret.
fn words(device: &FenceDevice, finished: &Finished) -> String {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines().map(str::trim);
        lines.rfind(|line| !line.is_empty()).map(str::to_owned)
    };
    let Some(mut line) = last(&finished.stderr).or_else(|| last(&finished.stdout)) else {
        return String::new();
    };
    for secret in device.secrets.values() {
        line = line.replace(secret.as_str(), "(secret)");
    }
    let line: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(WORDS_MAX_CHARS)
        .collect();
    format!(": {line}")
}

#[cfg(test)]
mod tests;
