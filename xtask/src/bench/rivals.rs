//! The programs that are compared, each with a configuration that makes it look at about the same
//! things once per second: processors, memory, load, disks, filesystems, interfaces, processes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::measure::pause;
use super::save_text;

/// Each of them is ready in well under a second on an idle machine.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether it is ready.
const READY_STEP: Duration = Duration::from_millis(50);
/// A scrape takes milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// node_exporter answers with about 100 KiB.
const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// How to see that it is ready, and how it is asked each second.
enum Contact {
    /// It works by itself and answers on a socket.
    Agent(PathBuf),
    /// It works only when it is scraped.
    Scrape(SocketAddr),
    /// It works by itself; this file appears once it does.
    File(PathBuf),
}

/// One program.
pub struct Rival {
    /// As people call it.
    pub name: &'static str,
    /// What it does each second, for the table.
    pub does: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    contact: Contact,
}

/// All of them, ours first, with their configuration written.
///
/// # Errors
/// When a configuration cannot be written or no port is free.
pub fn all(program: &Path, scratch: &Path) -> Result<Vec<Rival>> {
    Ok(vec![
        agent(program, scratch)?,
        node_exporter()?,
        collectd(scratch)?,
        monit(scratch)?,
    ])
}

fn agent(program: &Path, scratch: &Path) -> Result<Rival> {
    let run = scratch.join("run");
    let config = scratch.join("agent.toml");
    save_text(
        &config,
        &format!(
            "node = \"bench\"\n\n[paths]\nstate = {:?}\nrun = {run:?}\n\n\
             [sampling]\ninterval = \"1s\"\n",
            scratch.join("state"),
        ),
    )?;
    Ok(Rival {
        name: "nodemedic-agent",
        does: "samples, judges, keeps processes by pidfd",
        program: program.to_path_buf(),
        arguments: vec!["--config".to_owned(), text(&config)],
        contact: Contact::Agent(run.join("agent.sock")),
    })
}

fn node_exporter() -> Result<Rival> {
    let address = free_port()?;
    Ok(Rival {
        name: "node_exporter",
        does: "default collectors and processes, scraped",
        program: "/usr/bin/prometheus-node-exporter".into(),
        arguments: vec![
            format!("--web.listen-address={address}"),
            "--collector.processes".to_owned(),
            "--no-collector.systemd".to_owned(),
            "--log.level=error".to_owned(),
        ],
        contact: Contact::Scrape(address),
    })
}

/// The values go nowhere: what a write plugin costs is not what is compared.
fn collectd(scratch: &Path) -> Result<Rival> {
    let directory = scratch.join("collectd");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let socket = directory.join("socket");
    let config = directory.join("collectd.conf");
    let plugins = [
        "cpu",
        "memory",
        "swap",
        "load",
        "disk",
        "df",
        "interface",
        "processes",
    ];
    let load: String = plugins
        .iter()
        .map(|plugin| format!("LoadPlugin {plugin}\n"))
        .collect();
    save_text(
        &config,
        &format!(
            "Hostname \"bench\"\nFQDNLookup false\nInterval 1\nBaseDir {directory:?}\n\
             {load}PostCacheChain \"drop\"\n\
             <Chain \"drop\">\n  Target \"stop\"\n</Chain>\n\
             LoadPlugin unixsock\n\
             <Plugin unixsock>\n  SocketFile {socket:?}\n  DeleteSocket true\n</Plugin>\n"
        ),
    )?;
    Ok(Rival {
        name: "collectd",
        does: "eight plugins, values dropped",
        program: "/usr/sbin/collectd".into(),
        arguments: vec!["-f".to_owned(), "-C".to_owned(), text(&config)],
        contact: Contact::File(socket),
    })
}

fn monit(scratch: &Path) -> Result<Rival> {
    let directory = scratch.join("monit");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let config = directory.join("monitrc");
    let pid_file = directory.join("pid");
    save_text(
        &config,
        &format!(
            "set daemon 1\nset pidfile {pid_file:?}\nset idfile {:?}\nset statefile {:?}\n\
             check system bench\n  if cpu usage > 95% for 60 cycles then alert\n  \
             if memory usage > 95% for 60 cycles then alert\n\
             check filesystem root with path /\n  if space usage > 99% then alert\n\
             check network loopback with interface lo\n\
             check process itself with pidfile {pid_file:?}\n",
            directory.join("id"),
            directory.join("state"),
        ),
    )?;
    // monit refuses a control file that others may read.
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("setting the mode of {}", config.display()))?;
    Ok(Rival {
        name: "monit",
        does: "system, one filesystem, interface, process",
        program: "/usr/bin/monit".into(),
        arguments: vec!["-I".to_owned(), "-c".to_owned(), text(&config)],
        contact: Contact::File(pid_file),
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("looking for a free port")
}

impl Rival {
    /// How to start it, with what it says in a file of its own.
    ///
    /// # Errors
    /// When that file cannot be made.
    pub fn command(&self, scratch: &Path) -> Result<Command> {
        let log = scratch.join(format!("{}.log", self.name));
        let output =
            fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let errors = output
            .try_clone()
            .with_context(|| format!("opening {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        Ok(command)
    }

    /// Waits until it does its work.
    ///
    /// # Errors
    /// When it ends, or is not ready within the limit.
    pub fn wait_until_ready(&self, child: &mut Child) -> Result<()> {
        let end = crate::steps::now() + READY_LIMIT;
        while !self.is_ready() {
            if let Some(status) = child.try_wait().context("looking whether it runs")? {
                bail!("{} ended with {status}", self.program.display());
            }
            if crate::steps::now() > end {
                bail!("not ready within {} s", READY_LIMIT.as_secs());
            }
            pause(READY_STEP);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        match &self.contact {
            Contact::Agent(_) => self.status().is_ok_and(|s| !s["sample"].is_null()),
            Contact::Scrape(address) => TcpStream::connect(address).is_ok(),
            Contact::File(path) => path.exists(),
        }
    }

    /// Asks it, if it works only when it is asked.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn poll(&self) -> Result<()> {
        let Contact::Scrape(address) = &self.contact else {
            return Ok(());
        };
        let mut stream =
            TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_MAX_BYTES)
            .read_to_end(&mut answer)
            .with_context(|| format!("scraping {address}"))?;
        let text = String::from_utf8_lossy(&answer);
        if !text.contains("node_cpu_seconds_total") {
            bail!("{address} answered without any processor times");
        }
        Ok(())
    }

    /// What our agent says of itself; nothing of the others.
    ///
    /// # Errors
    /// When the agent's socket does not answer.
    pub fn status(&self) -> Result<Value> {
        let Contact::Agent(path) = &self.contact else {
            return Ok(Value::Null);
        };
        let mut stream = UnixStream::connect(path)
            .with_context(|| format!("connecting to {}", path.display()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"\"status\"\n")?;
        let mut line = String::new();
        BufReader::new(stream.take(ANSWER_MAX_BYTES))
            .read_line(&mut line)
            .with_context(|| format!("reading from {}", path.display()))?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("parsing what {} answers", path.display()))?;
        Ok(answer["status"].clone())
    }
}
