//! The sample service itself: answers `GET /` with who it is, and keeps its record.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nodemedic_edge::{clock, files};
use nodemedic_protocol::{BootId, Boottime};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::MissedTickBehavior;

use super::record::{Instance, Recorder, start_ticks};
use crate::failure::Failure;
use crate::http;

/// How often it says that it lives: shorter than anything that could start a second instance.
const TICK: Duration = Duration::from_millis(20);

/// Callers served at once; more wait in the kernel's queue.
const CALLERS_MAX: usize = 64;

/// What the service runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its record, if it keeps one.
    pub record: Option<PathBuf>,
    /// While this file exists the service refuses to start.
    pub break_file: Option<PathBuf>,
    /// It ends when nobody holds a lock on this file any more.
    pub lives_with: Option<PathBuf>,
    /// The work's name, as the agent told it.
    pub work: Option<String>,
    /// The node's name, as the agent told it.
    pub node: Option<String>,
    /// The grant, as the agent told it.
    pub generation: Option<u64>,
}

/// What `GET /` answers. Times are milliseconds of CLOCK_BOOTTIME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The work's name.
    pub work: Option<String>,
    /// The node's name.
    pub node: Option<String>,
    /// The grant.
    pub generation: Option<u64>,
    /// The process.
    pub pid: u32,
    /// When it began.
    pub started: Boottime,
    /// When this was answered.
    pub now: Boottime,
}

/// Serves until it is told to end.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    if let Some(path) = settings.break_file.as_deref().filter(|path| path.exists()) {
        return Err(Failure::failed(format!(
            "broken: {} exists",
            path.display()
        )));
    }
    let gone = match settings.lives_with.as_deref() {
        Some(path) => Some(starter_gone(path)?),
        None => None,
    };
    let started = clock::boottime();
    let instance = instance(&settings, started)?;
    let recorder = match &settings.record {
        Some(path) => Some(Recorder::open(path, instance).map_err(Failure::failed)?),
        None => None,
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        Failure::new(
            crate::failure::Kind::Failed,
            format!("cannot listen on {}: {error}", settings.listen),
            "another program may have the port: `ss -ltnp` names it; give another --listen",
        )
    });
    run(listener, recorder, &settings, started, gone).await
}

async fn run(
    listener: Result<TcpListener, Failure>,
    mut recorder: Option<Recorder>,
    settings: &Settings,
    started: Boottime,
    gone: Option<oneshot::Receiver<()>>,
) -> Result<(), Failure> {
    let ended = match listener {
        Ok(listener) => {
            let accepting = tokio::spawn(accept(listener, Arc::new(who(settings, started))));
            let ended = until_told(&mut recorder, gone).await;
            // Nobody is answered any more before the record says that it ended.
            accepting.abort();
            let _ = accepting.await;
            ended
        }
        Err(failure) => Err(failure),
    };
    if let Some(recorder) = &mut recorder {
        recorder.stop(clock::boottime()).map_err(Failure::failed)?;
    }
    ended
}

async fn until_told(
    recorder: &mut Option<Recorder>,
    gone: Option<oneshot::Receiver<()>>,
) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot take signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let starter = async {
        match gone {
            // The sender only goes after having sent.
            Some(gone) => drop(gone.await),
            None => std::future::pending().await,
        }
    };
    tokio::pin!(starter);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = &mut starter => return Ok(()),
            _ = ticks.tick() => if let Some(recorder) = recorder.as_mut() {
                recorder.tick(clock::boottime()).map_err(Failure::failed)?;
            },
        }
    }
}

async fn accept(listener: TcpListener, who: Arc<Answer>) {
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let who = Arc::clone(&who);
                tokio::spawn(async move {
                    // A caller that misbehaves only loses its own answer.
                    let _ = call(stream, &who).await;
                    drop(place);
                });
            }
            // Out of file handles, most likely: give those that are served time to end.
            Err(_) => tokio::time::sleep(TICK).await,
        }
    }
}

async fn call(mut stream: TcpStream, who: &Answer) -> Result<(), String> {
    let request = http::read_request(&mut stream).await?;
    let (status, body) = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => {
            let answer = Answer {
                now: clock::boottime(),
                ..who.clone()
            };
            (
                "200 OK",
                serde_json::to_string(&answer).map_err(|error| error.to_string())?,
            )
        }
        ("GET", _) => ("404 Not Found", r#"{"error":"there is only /"}"#.to_owned()),
        _ => (
            "405 Method Not Allowed",
            r#"{"error":"only GET is answered"}"#.to_owned(),
        ),
    };
    http::answer(&mut stream, status, &body).await
}

fn who(settings: &Settings, started: Boottime) -> Answer {
    Answer {
        work: settings.work.clone(),
        node: settings.node.clone(),
        generation: settings.generation,
        pid: std::process::id(),
        started,
        now: started,
    }
}

fn instance(settings: &Settings, started: Boottime) -> Result<Instance, Failure> {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    let pid = std::process::id();
    let text = files::read_capped(Path::new(BOOT_ID), 64)?.unwrap_or_default();
    let boot_id = BootId::new(String::from_utf8_lossy(&text).trim())
        .map_err(|error| Failure::failed(format!("{BOOT_ID}: {error}")))?;
    let start_ticks = start_ticks(pid)
        .ok_or_else(|| Failure::failed("cannot read the start time of this process in /proc"))?;
    Ok(Instance {
        work: settings.work.clone(),
        node: settings.node.clone(),
        generation: settings.generation,
        pid,
        start_ticks,
        boot_id,
        started,
        last: started,
        ended: false,
        met: false,
    })
}

/// Told when nobody holds the exclusive lock on this file any more. The kernel lets a lock go when
/// its holder ends in whatever way, so this needs no process numbers, which are reused.
fn starter_gone(path: &Path) -> Result<oneshot::Receiver<()>, Failure> {
    let file = File::open(path).map_err(|error| {
        Failure::failed(format!(
            "cannot open {} to live with its holder: {error}",
            path.display()
        ))
    })?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("lives-with".to_owned())
        .spawn(move || {
            // Whether the lock was got or locking failed, nothing holds this service any more.
            let _ = file.lock_shared();
            // Given back at once, so that it does not look like a running starter.
            let _ = file.unlock();
            let _ = tell.send(());
        })
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
    Ok(told)
}
