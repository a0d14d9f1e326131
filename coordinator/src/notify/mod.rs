//! Posts alerts to webhooks, off the event loop. Whether and when to try again is the core's
//! decision; here is one try, with a deadline, and a plain word on how it ended.
//!
//! A URL's query and a token are secrets to the log: only scheme and host are ever written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nodemedic_coordinator_core::{NotifyFailure, NotifyId};
use nodemedic_protocol::api::WebhookBody;
use tokio::sync::{Semaphore, mpsc};

use crate::config::Webhook;

/// One try ends after this, whatever the receiver does.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries at once: enough that one dead receiver does not hold up the others.
const WORKERS: usize = 4;

/// Tries that wait for a worker. The core has a few per open alert; beyond this a storm is under
/// way, and what is refused now it tries again later.
const WAITING_MAX: usize = 256;

/// An answer's body is not read further than this; its start helps to see what is wrong.
const ANSWER_MAX_BYTES: u64 = 300;

/// How a try ended.
#[derive(Debug)]
pub struct Told {
    /// Which try.
    pub id: NotifyId,
    /// Taken, or why not.
    pub result: Result<(), NotifyFailure>,
}

/// Hands tries to a few workers.
#[derive(Debug)]
pub struct Notifier {
    receivers: BTreeMap<String, Arc<Webhook>>,
    agent: ureq::Agent,
    waiting: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    told: mpsc::Sender<Told>,
}

impl Notifier {
    /// A notifier for these receivers; how tries end comes through the channel.
    #[must_use]
    pub fn new(receivers: BTreeMap<String, Webhook>) -> (Notifier, mpsc::Receiver<Told>) {
        let (told, results) = mpsc::channel(WAITING_MAX);
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TRY_TIMEOUT))
            .http_status_as_error(false)
            // A redirected POST would become a GET, or take the token to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("nodemedic/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let notifier = Notifier {
            receivers: receivers
                .into_iter()
                .map(|(name, hook)| (name, Arc::new(hook)))
                .collect(),
            agent,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            workers: Arc::new(Semaphore::new(WORKERS)),
            told,
        };
        (notifier, results)
    }

    /// Begins one try and returns at once. Must be called inside a tokio runtime.
    pub fn tell(&self, id: NotifyId, receiver: &str, body: &WebhookBody) {
        let told = self.told.clone();
        let prepared = self.prepare(receiver, body);
        let agent = self.agent.clone();
        let workers = Arc::clone(&self.workers);
        let receiver = receiver.to_owned();
        tokio::spawn(async move {
            let result = match prepared {
                Err(error) => Err(error),
                Ok((hook, body, _place)) => {
                    let worker = workers.acquire_owned().await;
                    let posted = tokio::task::spawn_blocking(move || {
                        let result = post(&agent, &hook, &body);
                        drop(worker);
                        result
                    });
                    posted
                        .await
                        .unwrap_or_else(|error| Err(for_now(format!("the try broke off: {error}"))))
                }
            };
            if let Err(failure) = &result {
                let text = &failure.text;
                tracing::warn!("cannot tell receiver {receiver:?} of an alert: {text}");
            }
            // A loop that has ended hears nothing more; its successor tries again.
            let _ = told.send(Told { id, result }).await;
        });
    }

    fn prepare(
        &self,
        receiver: &str,
        body: &WebhookBody,
    ) -> Result<(Arc<Webhook>, Vec<u8>, tokio::sync::OwnedSemaphorePermit), NotifyFailure> {
        let hook = self
            .receivers
            .get(receiver)
            .ok_or_else(|| for_good(format!("no [webhook.{receiver}] is configured")))?;
        let body = serde_json::to_vec(body).map_err(|error| for_good(error.to_string()))?;
        let place = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| for_now(format!("{WAITING_MAX} deliveries are under way already")))?;
        Ok((Arc::clone(hook), body, place))
    }
}

/// Another try may go better.
const fn for_now(text: String) -> NotifyFailure {
    NotifyFailure {
        permanent: false,
        text,
    }
}

/// Another try goes the same way, until a configuration changes here or there.
const fn for_good(text: String) -> NotifyFailure {
    NotifyFailure {
        permanent: true,
        text,
    }
}

fn post(agent: &ureq::Agent, hook: &Webhook, body: &[u8]) -> Result<(), NotifyFailure> {
    let place = harmless(&hook.url);
    let mut request = agent
        .post(&hook.url)
        .header("content-type", "application/json");
    if let Some(token) = &hook.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.send(body).map_err(|error| match error {
        // These two quote the URL.
        ureq::Error::BadUri(_) => {
            for_good(format!("{place}: the URL is refused by the HTTP client"))
        }
        ureq::Error::RequireHttpsOnly(_) => for_good(format!("{place}: only https is allowed")),
        ureq::Error::Timeout(_) => {
            let within = TRY_TIMEOUT.as_secs();
            for_now(format!("{place}: no answer within {within} s"))
        }
        error => for_now(format!("{place}: {error}")),
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let answer = response
        .body_mut()
        .with_config()
        .limit(ANSWER_MAX_BYTES)
        .lossy_utf8(true)
        .read_to_string()
        .unwrap_or_default();
    let answer: String = answer
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    let text = |verdict: &str| {
        let text = format!("{place} refused it {verdict}: HTTP {status} {answer}");
        text.trim_end().to_owned()
    };
    Err(match status.as_u16() {
        408 | 429 | 500..=599 => for_now(text("for now")),
        _ => for_good(text("for good, until its configuration or ours changes")),
    })
}

/// Scheme and host of a URL: enough to know which receiver is meant, nothing that is secret.
pub(crate) fn harmless(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "(a URL)".to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/...")
}

#[cfg(test)]
mod tests;
