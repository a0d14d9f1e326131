//! Child processes with a deadline, an output cap and a process group of their own. No shell ever
//! sees their arguments.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use nodemedic_protocol::Millis;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use crate::clock;

/// What to run, and within which bounds.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The executable: a path, or a name to look up in PATH.
    pub program: PathBuf,
    /// Its arguments, without the program itself. No shell ever sees them.
    pub args: Vec<String>,
    /// Added to this process's own environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; `None` = this process's own.
    pub cwd: Option<PathBuf>,
    /// Written to its stdin, which is then closed.
    pub stdin: Vec<u8>,
    /// After this long its whole process group is killed.
    pub timeout: Millis,
    /// Of each of stdout and stderr at most this many bytes are kept; the rest is read and dropped.
    pub output_max_bytes: usize,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The first bytes of its stdout.
    pub stdout: Vec<u8>,
    /// The first bytes of its stderr.
    pub stderr: Vec<u8>,
    /// Output beyond the cap was dropped.
    pub truncated: bool,
    /// From start to end.
    pub took: Millis,
}

/// Why there is no [`Finished`].
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It did not start.
    #[error("cannot start {}: {cause}; {remedy}", program.display())]
    Start {
        /// The executable.
        program: PathBuf,
        /// What the system answered.
        #[source]
        cause: io::Error,
        /// What a person can do about it.
        remedy: &'static str,
    },
    /// It did not end in time; its process group was killed.
    #[error("{} did not end within {timeout}: its process group was killed", program.display())]
    TimedOut {
        /// The executable.
        program: PathBuf,
        /// The bound.
        timeout: Millis,
        /// What it had said on stdout until then.
        stdout: Vec<u8>,
        /// What it had said on stderr until then.
        stderr: Vec<u8>,
    },
    /// It started, but waiting for it failed.
    #[error("lost track of {}: {cause}", program.display())]
    Lost {
        /// The executable.
        program: PathBuf,
        /// What the system answered.
        #[source]
        cause: io::Error,
    },
}

/// How long output is still awaited after the process itself has ended: what it wrote is there at
/// once, and a grandchild that keeps the pipe open may keep it for ever.
const DRAIN: Duration = Duration::from_millis(100);

/// How long a killed process may take to be gone. One that hangs in the kernel (a dead disk) is
/// left to tokio's reaper after it, so that it holds up nobody.
const REAP: Duration = Duration::from_secs(5);

/// How much is read at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// Runs it to its end, within its bounds.
///
/// It leads a process group of its own. When the time is up, or when this future is dropped, the
/// whole group is killed with SIGKILL. Whatever left the group on purpose (`setsid`) is not
/// followed, and what outlives a child that ended in time is left alone: that is how a start
/// command leaves a daemon behind.
pub async fn run(spec: Spec) -> Result<Finished, ChildError> {
    let started = clock::boottime();
    let mut child = start(&spec)?;
    // Declared after the child, so dropped before it: the group is killed before it is reaped.
    let mut group = Group(child.id());
    let mut stdout = Capture::new(spec.output_max_bytes);
    let mut stderr = Capture::new(spec.output_max_bytes);

    let (pipe_in, pipe_out, pipe_err) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = {
        let mut pipes = pin!(async {
            tokio::join!(
                feed(pipe_in, &spec.stdin),
                stdout.read(pipe_out),
                stderr.read(pipe_err)
            )
        });
        let mut piped = false;
        let to_its_end = async {
            loop {
                tokio::select! {
                    status = child.wait() => return status,
                    _ = &mut pipes, if !piped => piped = true,
                }
            }
        };
        let ended = tokio::time::timeout(spec.timeout.to_duration(), to_its_end).await;
        match ended {
            Ok(_) => group.forget(),
            Err(_) => group.kill(),
        }
        if !piped {
            // Running out of this time is no error: what was read counts.
            let _ = tokio::time::timeout(DRAIN, &mut pipes).await;
        }
        ended
    };
    let Spec {
        program, timeout, ..
    } = spec;
    let Ok(status) = ended else {
        // Beyond this bound tokio reaps it when it can.
        let _ = tokio::time::timeout(REAP, child.wait()).await;
        let (stdout, stderr) = (stdout.kept, stderr.kept);
        return Err(ChildError::TimedOut {
            program,
            timeout,
            stdout,
            stderr,
        });
    };
    let status = status.map_err(|cause| ChildError::Lost { program, cause })?;
    Ok(Finished {
        code: status.code(),
        signal: status.signal(),
        truncated: stdout.truncated || stderr.truncated,
        stdout: stdout.kept,
        stderr: stderr.kept,
        took: clock::boottime().since(started),
    })
}

fn start(spec: &Spec) -> Result<Child, ChildError> {
    command(spec).spawn().map_err(|cause| ChildError::Start {
        program: spec.program.clone(),
        remedy: remedy(&cause, spec),
        cause,
    })
}

fn command(spec: &Spec) -> Command {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(&spec.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    command
}

/// The child's process group, killed when dropped unless the child has ended by itself.
struct Group(Option<u32>);

impl Group {
    /// The child has been reaped: its number may soon belong to somebody else.
    fn forget(&mut self) {
        self.0 = None;
    }

    /// Kills every process in it.
    fn kill(&mut self) {
        let pid = self
            .0
            .take()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The only failure is that the group is gone.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first bytes of a stream; the rest is read too, so that the child is never held up.
struct Capture {
    kept: Vec<u8>,
    max_bytes: usize,
    truncated: bool,
}

impl Capture {
    fn new(max_bytes: usize) -> Capture {
        Capture {
            kept: Vec::new(),
            max_bytes,
            truncated: false,
        }
    }

    /// Until the end of the stream; a stream that breaks has ended.
    async fn read(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; CHUNK_BYTES];
        while let Ok(length) = pipe.read(&mut chunk).await {
            if length == 0 {
                return;
            }
            let room = self.max_bytes - self.kept.len();
            self.kept.extend_from_slice(&chunk[..length.min(room)]);
            self.truncated |= length > room;
        }
    }
}

/// Writes all, then closes. A child that does not read its input is none of our business.
async fn feed(pipe: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(bytes).await;
    }
}

fn remedy(cause: &io::Error, spec: &Spec) -> &'static str {
    let cwd_is_gone = spec.cwd.as_ref().is_some_and(|cwd| !cwd.is_dir());
    match cause.kind() {
        io::ErrorKind::NotFound if cwd_is_gone => "create its working directory",
        io::ErrorKind::NotFound => "install it, or correct the path",
        io::ErrorKind::PermissionDenied => "make it executable for this user",
        io::ErrorKind::ArgumentListTooLong => "shorten its arguments",
        _ if cause.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "a script needs a first line like #!/bin/sh"
        }
        _ => "check the limits of processes, open files and memory",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn spec(script: &str) -> Spec {
        Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: Millis::from_secs(20),
            output_max_bytes: 1000,
        }
    }

    /// True while a process with this number exists and is no zombie.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !matches!(
            stat.rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next()),
            None | Some('Z')
        )
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..2000 {
            if holds() {
                return;
            }
            tick.tick().await;
        }
        panic!("never: {what}");
    }

    #[tokio::test]
    async fn it_reports_code_output_environment_directory_and_input() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec("cat; echo $GREETING; pwd; echo problem >&2; exit 3");
        spec.stdin = b"key=value\n".to_vec();
        spec.env
            .insert("GREETING".to_owned(), "hello; $(id)".to_owned());
        spec.cwd = Some(dir.path().to_owned());
        let finished = run(spec).await.unwrap();
        assert_eq!((finished.code, finished.signal), (Some(3), None));
        let expected = format!("key=value\nhello; $(id)\n{}\n", dir.path().display());
        assert_eq!(String::from_utf8(finished.stdout).unwrap(), expected);
        assert_eq!(finished.stderr, b"problem\n");
        assert!(!finished.truncated);
    }

    #[tokio::test]
    async fn death_by_a_signal_is_told_apart_from_an_exit() {
        let finished = run(spec("kill -9 $$")).await.unwrap();
        assert_eq!((finished.code, finished.signal), (None, Some(9)));
    }

    #[tokio::test]
    async fn endless_output_is_cut_and_still_read_to_its_end() {
        let mut spec = spec("head -c 3000000 /dev/zero; echo done >&2");
        spec.output_max_bytes = 10;
        let finished = run(spec).await.unwrap();
        assert_eq!(finished.code, Some(0), "a full pipe would have held it up");
        assert_eq!(
            (finished.stdout, finished.stderr),
            (vec![0; 10], b"done\n".to_vec())
        );
        assert!(finished.truncated);
    }

    #[tokio::test]
    async fn input_that_nobody_reads_does_no_harm() {
        let mut spec = spec("exec 0<&-; echo ok");
        spec.stdin = vec![b'x'; 1_000_000];
        assert_eq!(run(spec).await.unwrap().stdout, b"ok\n");
    }

    #[tokio::test]
    async fn at_its_timeout_the_whole_group_dies_and_no_zombie_is_left() {
        let mut spec = spec("sleep 1000 & echo $$ $!; trap '' TERM; wait");
        spec.timeout = Millis(300);
        let error = run(spec).await.unwrap_err();
        let ChildError::TimedOut {
            stdout,
            timeout: Millis(300),
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(
            error
                .to_string()
                .contains("/bin/sh did not end within 300ms"),
            "{error}"
        );
        let pids = String::from_utf8(stdout.clone()).unwrap();
        let [shell, sleep] = pids.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{pids:?}");
        };
        assert!(
            !Path::new(&format!("/proc/{shell}")).exists(),
            "the child itself is reaped"
        );
        until("the grandchild is gone", || !lives(sleep)).await;
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_the_pipe_open_holds_nobody_up_and_lives_on() {
        let finished = run(spec("sleep 1000 & echo $!")).await.unwrap();
        assert_eq!(finished.code, Some(0));
        assert!(finished.took < Millis::from_secs(10), "{}", finished.took);
        let daemon = String::from_utf8(finished.stdout).unwrap();
        assert!(
            lives(daemon.trim()),
            "a start command may leave a daemon behind"
        );
        let pid = Pid::from_raw(daemon.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_dropped_run_takes_its_group_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let mut spec = spec("sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait");
        spec.cwd = Some(dir.path().to_owned());
        let task = tokio::spawn(run(spec));
        until("both run", || file.exists()).await;
        task.abort();
        let pids = std::fs::read_to_string(&file).unwrap();
        for pid in pids.split_whitespace() {
            until("each is gone", || !lives(pid)).await;
        }
    }

    #[tokio::test]
    async fn what_cannot_start_says_why_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        crate::files::write_atomic(&plain, b"no script", 0o600).unwrap();
        let told = async |program: &Path, cwd: Option<PathBuf>| {
            let spec = Spec {
                program: program.to_owned(),
                cwd,
                ..spec("")
            };
            run(spec).await.unwrap_err().to_string()
        };
        let said = told(Path::new("/no/such/program"), None).await;
        assert!(
            said.starts_with("cannot start /no/such/program: No such file"),
            "{said}"
        );
        assert!(said.ends_with("install it, or correct the path"), "{said}");
        let said = told(&plain, None).await;
        assert!(said.ends_with("make it executable for this user"), "{said}");
        let said = told(Path::new("/bin/true"), Some(dir.path().join("gone"))).await;
        assert!(said.ends_with("create its working directory"), "{said}");
    }
}
