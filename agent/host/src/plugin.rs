//! Runs plugins: programs that look at one thing and write one report (contract `nodemedic`,
//! docs/reference/plugin.md).
//!
//! Each has a task of its own, so a run never overlaps the one before. A run that does not end in
//! time is killed with its whole process group and means Unknown, never unhealthy.

use std::collections::BTreeMap;

use nodemedic_agent_core::Input;
use nodemedic_agent_core::input::{Finding, PluginReport};
use nodemedic_edge::child::{self, Finished, Spec};
use nodemedic_protocol::Millis;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::plugin::{FINDINGS_MAX, OUTPUT_MAX_BYTES, Report, VERSION};
use nodemedic_protocol::rng::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// One plugin of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How often.
    pub interval: Millis,
    /// How long one run may take.
    pub timeout: Millis,
}

/// All plugins that run.
#[derive(Debug)]
pub struct Plugins {
    inputs: mpsc::Sender<Input>,
    seed: u64,
    running: BTreeMap<String, (PluginSpec, Task)>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Plugins {
    /// None runs yet. Reports go to `inputs`.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>, seed: u64) -> Plugins {
        Plugins {
            inputs,
            seed,
            running: BTreeMap::new(),
        }
    }

    /// Runs exactly these from now on; one that did not change goes on.
    pub fn set(&mut self, wanted: &BTreeMap<String, PluginSpec>) {
        self.running
            .retain(|name, (spec, _)| wanted.get(name) == Some(spec));
        for (name, spec) in wanted {
            if self.running.contains_key(name) {
                continue;
            }
            self.seed = self.seed.wrapping_add(1);
            let task = run_on(
                name.clone(),
                spec.clone(),
                Rng::new(self.seed),
                self.inputs.clone(),
            );
            let task = Task(tokio::spawn(task));
            self.running.insert(name.clone(), (spec.clone(), task));
        }
    }
}

async fn run_on(plugin: String, spec: PluginSpec, mut rng: Rng, inputs: mpsc::Sender<Input>) {
    // Spread over the interval: all plugins at once, or a fleet in step, would be a load.
    sleep(Millis(rng.below(spec.interval.0)).to_duration()).await;
    loop {
        let report = run(&spec).await;
        let plugin = plugin.clone();
        let input = Input::PluginReport { plugin, report };
        if inputs.send(input).await.is_err() {
            return;
        }
        sleep(Millis(rng.jitter(spec.interval.0)).to_duration()).await;
    }
}

/// Runs it once.
pub async fn run(spec: &PluginSpec) -> PluginReport {
    let Some((program, args)) = spec.command.split_first() else {
        return PluginReport::Unknown("its command is empty".to_owned());
    };
    let ended = child::run(Spec {
        program: program.into(),
        args: args.to_vec(),
        env: BTreeMap::new(),
        cwd: None,
        stdin: Vec::new(),
        timeout: spec.timeout,
        output_max_bytes: OUTPUT_MAX_BYTES,
    })
    .await;
    match ended {
        Ok(finished) => read(&finished),
        Err(error) => PluginReport::Unknown(error.to_string()),
    }
}

fn read(finished: &Finished) -> PluginReport {
    match (finished.code, finished.signal) {
        (Some(0), _) => {}
        (Some(code), _) => return unknown(&format!("exited with status {code}"), finished),
        (None, Some(signal)) => return unknown(&format!("killed by signal {signal}"), finished),
        (None, None) => return unknown("ended in an unknown way", finished),
    }
    if finished.truncated {
        let text = format!("wrote more than {OUTPUT_MAX_BYTES} bytes");
        return unknown(&text, finished);
    }
    let report: Report = match serde_json::from_slice(&finished.stdout) {
        Ok(report) => report,
        Err(error) => return unknown(&format!("wrote no report: {error}"), finished),
    };
    if report.version != VERSION {
        let text = format!(
            "wrote a report of version {}, this agent reads version {VERSION}",
            report.version
        );
        return unknown(&text, finished);
    }
    if let Some(why) = report.unknown {
        return PluginReport::Unknown(why);
    }
    if report.findings.len() > FINDINGS_MAX {
        let text = format!("reported more than {FINDINGS_MAX} findings");
        return unknown(&text, finished);
    }
    let findings = report.findings.into_iter().map(|finding| Finding {
        part: finding.part,
        reason: Reason::Other(finding.reason),
        severity: finding.severity,
        message: finding.message,
        evidence: finding.evidence,
    });
    PluginReport::Findings(findings.collect())
}

/// With the first line of what it said on stderr, which is for people.
fn unknown(what: &str, finished: &Finished) -> PluginReport {
    let said = String::from_utf8_lossy(&finished.stderr);
    match said.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => {
            let line: String = line.chars().take(200).collect();
            PluginReport::Unknown(format!("{what}: {line}"))
        }
        None => PluginReport::Unknown(what.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::Severity;

    fn sh(script: &str, timeout: u64) -> PluginSpec {
        PluginSpec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            interval: Millis(10),
            timeout: Millis(timeout),
        }
    }

    #[tokio::test]
    async fn findings_are_taken_over_with_the_plugins_own_words() {
        let report = r#"{"version":1,"findings":[{"part":"clock","reason":"not synchronised",
            "severity":"warning","message":"Runs free.","evidence":{"offset_ms":"812"}}]}"#;
        let PluginReport::Findings(findings) = run(&sh(&format!("echo '{report}'"), 20_000)).await
        else {
            panic!("no findings");
        };
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].reason, Reason::Other("not synchronised".into()));
        assert_eq!(findings[0].severity, Severity::Warning);
        assert_eq!(findings[0].evidence["offset_ms"], "812");
    }

    #[tokio::test]
    async fn whatever_goes_wrong_is_unknown_and_never_unhealthy() {
        for (script, why) in [
            ("exit 1", "exited with status 1"),
            ("echo broken >&2; exit 2", "exited with status 2: broken"),
            ("kill -9 $$", "killed by signal 9"),
            ("echo nonsense", "wrote no report"),
            ("echo '{\"version\":9}'", "version 9"),
            ("head -c 100000 /dev/zero", "more than 65536 bytes"),
            (
                "echo '{\"version\":1,\"unknown\":\"no chronyd\"}'",
                "no chronyd",
            ),
            ("echo '{\"version\":1} trailing'", "wrote no report"),
        ] {
            let PluginReport::Unknown(text) = run(&sh(script, 20_000)).await else {
                panic!("{script}: not unknown");
            };
            assert!(text.contains(why), "{script}: {text}");
        }
        let hung = run(&sh("sleep 1000", 50)).await;
        assert!(matches!(hung, PluginReport::Unknown(_)), "{hung:?}");
    }

    #[tokio::test]
    async fn a_plugin_runs_again_and_again_until_it_is_taken_away() {
        let (inputs, mut seen) = mpsc::channel(4);
        let mut plugins = Plugins::new(inputs, 1);
        let spec = sh("echo '{\"version\":1}'", 20_000);
        plugins.set(&BTreeMap::from([("p".to_owned(), spec)]));
        for _ in 0..3 {
            let Some(Input::PluginReport { plugin, report }) = seen.recv().await else {
                panic!("no report");
            };
            assert_eq!(
                (plugin.as_str(), report),
                ("p", PluginReport::Findings(Vec::new()))
            );
        }
        plugins.set(&BTreeMap::new());
        drop(plugins);
        while seen.recv().await.is_some() {}
    }
}
