//! The one who is paged in the story: a webhook receiver that keeps what it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use nodemedic_protocol::api::{AlertState, AlertView, WebhookBody};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::timeline::Unseen;
use crate::failure::Failure;
use crate::http;

/// Pages that wait to be read. A story causes about ten; a storm beyond this makes the sender wait.
const QUEUE: usize = 256;

/// A page, and when it came.
#[derive(Clone, Debug)]
pub struct Page {
    /// When, in microseconds of CLOCK_BOOTTIME.
    pub at_us: u64,
    /// What.
    pub alert: AlertView,
}

/// The receiver.
#[derive(Debug)]
pub struct Pager {
    /// Where it listens.
    pub address: SocketAddr,
    came: mpsc::Receiver<Page>,
    /// All pages so far, in order.
    pub pages: Vec<Page>,
    task: JoinHandle<()>,
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pager {
    /// Begins to listen.
    pub async fn start() -> Result<Pager, Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("cannot listen for pages: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (tell, came) = mpsc::channel(QUEUE);
        let task = tokio::spawn(receive(listener, tell));
        Ok(Pager {
            address,
            came,
            pages: Vec::new(),
            task,
        })
    }

    /// Waits for a page that is as `wanted`, counting those that came before.
    pub async fn until(
        &mut self,
        within: Millis,
        expected: &str,
        wanted: impl Fn(&Page) -> bool,
    ) -> Result<Page, Unseen> {
        self.read_all();
        let waiting = async {
            loop {
                if let Some(page) = self.pages.iter().find(|page| wanted(page)) {
                    return Ok(page.clone());
                }
                match self.came.recv().await {
                    Some(page) => self.pages.push(page),
                    None => return Err(Unseen::new(expected, "the receiver of pages ended")),
                }
            }
        };
        match tokio::time::timeout(within.to_duration(), waiting).await {
            Ok(found) => found,
            Err(_) => Err(Unseen::new(
                expected,
                format!("after {within}: {}", words(&self.pages)),
            )),
        }
    }

    /// Waits until nothing that it was paged for is still open. Conditions of the machine itself
    /// (a full disk, say) are real, and no part of the story.
    pub async fn until_all_resolved(&mut self, within: Millis) -> Result<usize, Unseen> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let began = clock::boottime();
        loop {
            self.read_all();
            let states = states(&self.pages);
            let open: Vec<&str> = states
                .iter()
                .filter(|(_, state)| **state == AlertState::Firing)
                .map(|(key, _)| *key)
                .collect();
            if open.is_empty() {
                return Ok(states.len());
            }
            if clock::boottime().since(began) >= within {
                return Err(Unseen::new(
                    "every page is followed by its resolve",
                    format!("after {within} still open: {}", open.join(", ")),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn read_all(&mut self) {
        while let Ok(page) = self.came.try_recv() {
            self.pages.push(page);
        }
    }
}

/// The newest state of each alert.
fn states(pages: &[Page]) -> BTreeMap<&str, AlertState> {
    let ours = |alert: &AlertView| alert.work.is_some() || !alert.key.contains("/condition/");
    pages
        .iter()
        .filter(|page| ours(&page.alert))
        .map(|page| (page.alert.key.as_str(), page.alert.state))
        .collect()
}

fn words(pages: &[Page]) -> String {
    if pages.is_empty() {
        return "no page came".to_owned();
    }
    let each: Vec<String> = pages
        .iter()
        .map(|page| {
            let state = crate::words::alert_state(page.alert.state);
            format!("{state} {}: {}", page.alert.key, page.alert.summary)
        })
        .collect();
    format!("these pages came: {}", each.join("; "))
}

async fn receive(listener: TcpListener, tell: mpsc::Sender<Page>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // One sender, one page at a time: the coordinator. A bad one is answered and forgotten.
        let Ok(request) = http::read_request(&mut stream).await else {
            continue;
        };
        let body: Result<WebhookBody, _> = serde_json::from_slice(&request.body);
        let status = match (request.method.as_str(), body) {
            ("POST", Ok(body)) => {
                let at_us = clock::boottime_us();
                let page = Page {
                    at_us,
                    alert: body.alert,
                };
                if tell.send(page).await.is_err() {
                    return;
                }
                "200 OK"
            }
            _ => "400 Bad Request",
        };
        // The sender tries again when it does not see the answer.
        let _ = http::answer(&mut stream, status, "{}").await;
    }
}
