//! Asks another program, with a deadline and an output cap, and without a shell.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A program that has closed its output and does not end in this time hangs.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);
const EXIT_STEP: Duration = Duration::from_millis(5);

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end. It gets nothing on its standard input, and an English locale, so that
/// its output is the documented one.
///
/// # Errors
/// When it cannot be started, does not end within `timeout`, or writes more than `output_max`
/// bytes to one of its outputs; it is killed then.
pub fn run(
    program: &str,
    args: &[String],
    timeout: Duration,
    output_max: usize,
) -> Result<Said, String> {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    let stdout = child.stdout.take().map(|pipe| read(pipe, output_max));
    let stderr = child.stderr.take().map(|pipe| read(pipe, output_max));
    let mut result = collect(program, stdout, timeout)
        .and_then(|stdout| Ok((stdout, collect(program, stderr, EXIT_PATIENCE)?)));
    let mut code = None;
    if result.is_ok() {
        code = exit_of(program, &mut child).unwrap_or_else(|error| {
            result = Err(error);
            None
        });
    }
    if result.is_err() {
        // Both fail only for a process that has ended by itself, which is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = result?;
    Ok(Said {
        code,
        stdout,
        stderr,
    })
}

type Output = Receiver<Result<String, String>>;

fn read(pipe: impl Read + Send + 'static, max: usize) -> Output {
    let (tell, output) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        let result = match pipe.take(limit).read_to_end(&mut bytes) {
            Ok(length) if length > max => Err(format!("wrote more than {max} bytes")),
            Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) => Err(format!("cannot be read: {e}")),
        };
        // Nobody listens any more when the deadline has passed.
        let _ = tell.send(result);
    });
    output
}

fn collect(program: &str, output: Option<Output>, timeout: Duration) -> Result<String, String> {
    let output = output.ok_or_else(|| format!("{program} has no output"))?;
    match output.recv_timeout(timeout) {
        Ok(result) => result.map_err(|why| format!("{program} {why}")),
        Err(_) => Err(format!(
            "{program} gave no answer within {} ms",
            timeout.as_millis()
        )),
    }
}

fn exit_of(program: &str, child: &mut std::process::Child) -> Result<Option<i32>, String> {
    // A channel that nobody writes to is a wait with a bound.
    let (_keep, pause) = mpsc::channel::<()>();
    let mut waited = Duration::ZERO;
    while waited < EXIT_PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) => {
                let _ = pause.recv_timeout(EXIT_STEP);
                waited += EXIT_STEP;
            }
            Err(e) => return Err(format!("cannot wait for {program}: {e}")),
        }
    }
    Err(format!("{program} closed its output and did not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout_ms: u64) -> Result<Said, String> {
        let args = [String::from("-c"), String::from(script)];
        run("/bin/sh", &args, Duration::from_millis(timeout_ms), 1000)
    }

    #[test]
    fn output_and_status_come_back_apart() {
        let said = sh("echo out; echo err >&2; exit 3", 10_000).unwrap();
        assert_eq!(
            (said.code, said.stdout.as_str(), said.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
        assert_eq!(sh("kill -9 $$", 10_000).unwrap().code, None);
    }

    #[test]
    fn a_program_that_hangs_or_floods_is_ended_and_named() {
        let error = sh("exec sleep 600", 50).unwrap_err();
        assert_eq!(error, "/bin/sh gave no answer within 50 ms");
        let error = sh("exec cat /dev/zero", 10_000).unwrap_err();
        assert_eq!(error, "/bin/sh wrote more than 1000 bytes");
        let error = sh("exec >&- 2>&-; exec sleep 600", 10_000).unwrap_err();
        assert_eq!(error, "/bin/sh closed its output and did not end");
        let error = run("/nonexistent/x", &[], Duration::from_secs(1), 1).unwrap_err();
        assert!(
            error.starts_with("cannot start /nonexistent/x: "),
            "{error}"
        );
    }
}
