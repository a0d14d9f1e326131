//! Programs of the operator that run beside a restart: in a process group of their own, with a
//! deadline, and with what they say cut short. No shell reads them.

use std::collections::BTreeMap;

use nodemedic_agent_core::{Act, UnitKey};
use nodemedic_edge::child::{self, ChildError, Spec};
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use nodemedic_protocol::event::{Hook, HookRecord, Outcome};

/// Kept of each stream: its first line is recorded.
const OUTPUT_MAX_BYTES: usize = 4096;

/// Of that line, so much: it goes into the record of the action.
const LINE_MAX_CHARS: usize = 200;

/// Runs one. `None` when there is none; however it ends, it is a record and no error.
pub async fn run(hook: Hook, command: &[String], act: &Act, within: Millis) -> Option<HookRecord> {
    let (program, args) = command.split_first()?;
    let name = match &act.unit {
        UnitKey::Service(name) => name.as_str(),
        UnitKey::Work(name) => name.as_str(),
    };
    let env = BTreeMap::from([
        ("NODEMEDIC_SERVICE".to_owned(), name.to_owned()),
        ("NODEMEDIC_HOOK".to_owned(), hook.to_string()),
    ]);
    let began = clock::boottime();
    let ended = child::run(Spec {
        program: program.into(),
        args: args.to_vec(),
        env,
        cwd: None,
        stdin: Vec::new(),
        timeout: within,
        output_max_bytes: OUTPUT_MAX_BYTES,
    })
    .await;
    let outcome = match ended {
        Ok(finished) if finished.code == Some(0) => Outcome::Done,
        Ok(finished) => {
            let how = match (finished.code, finished.signal) {
                (Some(code), _) => format!("status {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "an unknown end".to_owned(),
            };
            let said = first_line(&finished.stderr).or_else(|| first_line(&finished.stdout));
            let said = said.map(|line| format!(": {line}")).unwrap_or_default();
            Outcome::Failed(format!("{how}{said}"))
        }
        Err(ChildError::TimedOut { .. }) => Outcome::TimedOut,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    if outcome != Outcome::Done {
        tracing::warn!(unit = %act.unit, %hook, ?outcome, "a hook failed; the restart goes on");
    }
    Some(HookRecord {
        hook,
        command: command.join(" "),
        outcome,
        took: clock::boottime().since(began),
    })
}

fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(LINE_MAX_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_agent_core::ActionId;
    use nodemedic_protocol::ServiceName;
    use nodemedic_protocol::event::Verb;
    use nodemedic_protocol::work::Run;

    fn act() -> Act {
        Act {
            action: ActionId(1),
            unit: UnitKey::Service(ServiceName::new("web").unwrap()),
            verb: Verb::Restart,
            run: Run::Systemd {
                unit: "web.service".to_owned(),
            },
            generation: None,
            environment: BTreeMap::new(),
            stop_grace: Millis::ZERO,
            timeout: Millis::ZERO,
            begin_by: None,
            gate: None,
            hooks: None,
        }
    }

    async fn sh(script: &str, within: Millis) -> HookRecord {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        let ran = run(Hook::BeforeRestart, &command, &act(), within).await;
        ran.unwrap()
    }

    #[tokio::test]
    async fn a_hook_knows_its_service_and_its_end_is_a_record_whatever_it_is() {
        let long = Millis(20_000);
        let script = "test $NODEMEDIC_SERVICE,$NODEMEDIC_HOOK = web,before_restart";
        assert_eq!(sh(script, long).await.outcome, Outcome::Done);
        let failed = sh("echo disk full >&2; exit 3", long).await;
        let why = "status 3: disk full".to_owned();
        assert_eq!(failed.outcome, Outcome::Failed(why));
        assert_eq!(failed.command, "/bin/sh -c echo disk full >&2; exit 3");
        let hung = sh("sleep 1000", Millis(50)).await;
        assert_eq!(hung.outcome, Outcome::TimedOut);
        let missing = ["/nonexistent".to_owned()];
        let missing = run(Hook::AfterRestart, &missing, &act(), long).await;
        assert!(matches!(missing.unwrap().outcome, Outcome::Failed(_)));
        assert_eq!(run(Hook::AfterRestart, &[], &act(), long).await, None);
    }
}
