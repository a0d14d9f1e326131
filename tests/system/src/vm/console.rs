//! The machine's second serial port: commands in, output and exit status out.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::wait::wait_for;

/// Begins every line that the machine's own control program says.
const MARK: &str = "@@ ";

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i32,
    /// Both outputs.
    pub output: String,
}

/// A connection to the control program in the machine.
pub struct Console {
    stream: UnixStream,
    heard: Arc<Mutex<String>>,
    number: u64,
}

impl Console {
    /// Connects to the port, which is there before the machine is.
    ///
    /// # Panics
    /// When QEMU does not listen in time.
    #[must_use]
    pub fn connect(socket: &Path, bound: Duration) -> Console {
        let (stream, _) = wait_for("QEMU's serial port listens", bound, || {
            UnixStream::connect(socket).map_err(|e| e.to_string())
        });
        let mut reader = stream.try_clone().expect("share the connection");
        let heard = Arc::new(Mutex::new(String::new()));
        let more = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
                more.lock().expect("what was heard").push_str(&text);
            }
        });
        Console {
            stream,
            heard,
            number: 0,
        }
    }

    fn heard(&self) -> String {
        self.heard.lock().expect("what was heard").clone()
    }

    /// How often the control program has begun, which is once per boot.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.heard().matches("@@ ready\n").count()
    }

    /// Runs a line of shell in the machine.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run(&mut self, command: &str, bound: Duration) -> Ran {
        self.number += 1;
        let from = self.heard().len();
        writeln!(self.stream, "{} {command}", self.number).expect("write to the serial port");
        let end = format!("{MARK}{} ", self.number);
        let (ran, _) = wait_for(&format!("`{command}` ends in the machine"), bound, || {
            let heard = self.heard();
            let new = &heard[from..];
            let (output, rest) = new.split_once(&end).ok_or_else(|| new.to_owned())?;
            let (status, _) = rest.split_once('\n').ok_or_else(|| new.to_owned())?;
            Ok(Ran {
                status: status.parse().map_err(|_| new.to_owned())?,
                output: output.to_owned(),
            })
        });
        ran
    }
}
