//! QEMU's monitor: what happens to the machine, with the moment at which it was heard.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::wait::wait_for;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// `WATCHDOG`, `RESET`, `SHUTDOWN`, ...
    pub name: String,
    /// More about it.
    pub data: Value,
    /// When this program heard it.
    pub at: Instant,
}

/// A connection to the monitor.
pub struct Qmp {
    stream: UnixStream,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Qmp {
    /// Connects as soon as QEMU listens, and from then on hears every event.
    ///
    /// # Panics
    /// When it does not listen in time.
    #[must_use]
    pub fn connect(socket: &Path, bound: Duration) -> Qmp {
        let (mut stream, _) = wait_for("QEMU's monitor listens", bound, || {
            UnixStream::connect(socket).map_err(|e| e.to_string())
        });
        let hello = json!({ "execute": "qmp_capabilities" });
        writeln!(stream, "{hello}").expect("greet QEMU");
        let events = Arc::new(Mutex::new(Vec::new()));
        let reader = BufReader::new(stream.try_clone().expect("share the connection"));
        let heard = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let at = Instant::now();
                let Ok(message) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if let Some(name) = message["event"].as_str() {
                    let event = Event {
                        name: name.to_owned(),
                        data: message["data"].clone(),
                        at,
                    };
                    heard.lock().expect("the list of events").push(event);
                }
            }
        });
        Qmp { stream, events }
    }

    /// Every event so far.
    ///
    /// # Panics
    /// When the reader has.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("the list of events").clone()
    }

    /// Ends QEMU at once, as a pulled plug.
    pub fn quit(&mut self) {
        // One that is gone already is as good.
        let _ = writeln!(self.stream, "{}", json!({ "execute": "quit" }));
    }
}
