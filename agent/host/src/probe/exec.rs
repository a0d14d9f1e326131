//! Probe `exec`: a program exits with status 0.

use std::collections::BTreeMap;

use nodemedic_agent_core::Verdict;
use nodemedic_edge::child::{self, ChildError, Spec};
use nodemedic_protocol::Millis;
use tokio::sync::Semaphore;

/// Kept of each stream: one line of it is reported.
const OUTPUT_MAX_BYTES: usize = 4096;

/// Of that line, so much: it goes into events.
const LINE_MAX_CHARS: usize = 200;

/// Programs of probes at once. On a host with hundreds of units they would otherwise all start in
/// the same moment, after a start of the agent.
const AT_ONCE: usize = 64;

static SLOTS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Runs it once. Its time counts from its start, not from where it waits for its turn.
pub async fn ask(command: &[String], within: Millis) -> Verdict {
    let _slot = SLOTS.acquire().await;
    let Some((program, args)) = command.split_first() else {
        return Verdict::Unknown("exec probe: the command is empty".to_owned());
    };
    let ended = child::run(Spec {
        program: program.into(),
        args: args.to_vec(),
        env: BTreeMap::new(),
        cwd: None,
        stdin: Vec::new(),
        timeout: within,
        output_max_bytes: OUTPUT_MAX_BYTES,
    })
    .await;
    match ended {
        Ok(finished) if finished.code == Some(0) => Verdict::Pass,
        Ok(finished) => {
            let how = match (finished.code, finished.signal) {
                (Some(code), _) => format!("status {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "an unknown end".to_owned(),
            };
            let said = first_line(&finished.stderr).or_else(|| first_line(&finished.stdout));
            let said = said.map(|line| format!(": {line}")).unwrap_or_default();
            Verdict::Fail(format!("exec probe {program}: {how}{said}"))
        }
        // The service behind it hangs: its failure.
        Err(error @ ChildError::TimedOut { .. }) => Verdict::Fail(format!("exec probe: {error}")),
        Err(error) => Verdict::Unknown(format!("exec probe: {error}")),
    }
}

fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(LINE_MAX_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, within: Millis) -> Verdict {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        ask(&command, within).await
    }

    #[tokio::test]
    async fn the_exit_status_is_the_verdict() {
        let long = Millis(20_000);
        assert_eq!(sh("exit 0", long).await, Verdict::Pass);
        let failed = sh("echo; echo no disk >&2; exit 3", long).await;
        assert_eq!(
            failed,
            Verdict::Fail("exec probe /bin/sh: status 3: no disk".into())
        );
        let killed = sh("kill -9 $$", long).await;
        assert_eq!(killed, Verdict::Fail("exec probe /bin/sh: signal 9".into()));
    }

    #[tokio::test]
    async fn a_hang_is_a_failure_and_a_missing_program_is_not() {
        let hung = sh("sleep 1000", Millis(50)).await;
        assert!(matches!(hung, Verdict::Fail(_)), "{hung:?}");
        let missing = ask(&["/nonexistent".to_owned()], Millis(1000)).await;
        assert!(matches!(missing, Verdict::Unknown(_)), "{missing:?}");
        assert!(matches!(ask(&[], Millis(1)).await, Verdict::Unknown(_)));
    }
}
