//! Remedies and reboots as stories on virtual time, on a host that dies when told to; and what must
//! hold whatever happens: budgets over deaths and reboots, and one reboot for one permit.

mod always;
mod stories;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use nodemedic_protocol::event::{Event, EventKind, Outcome};
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::{Answer, Command, CommandBody, LeaseAck, Message, Session};
use nodemedic_protocol::reboot::RebootWord;
use nodemedic_protocol::remedy::RemedyStep;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::{
    BootId, Boottime, CommandId, Epoch, Millis, NodeId, Now, RemedyName, Seq, SessionId, Severity,
    StreamId, WallTime,
};

use super::{RebootPolicy, Remedy, When};
use crate::input::{Finding, PluginReport};
use crate::{Agent, Config, Effect, Facts, Input, Memory, Spooled, ToNode, Treatment};

const SECOND: Millis = Millis(1000);
const MINUTE: Millis = Millis::from_secs(60);
const HOUR: Millis = Millis::from_secs(3600);

fn name(text: &str) -> RemedyName {
    RemedyName::new(text).unwrap()
}

/// For what the plugin `probe` says of the part `disk`.
fn remedy(step: u32) -> Remedy {
    Remedy {
        when: vec![When {
            component: "probe disk".into(),
            reason: "bad".into(),
            severity: Severity::Warning,
        }],
        step,
        after: Millis::from_secs(10),
        settle: Millis::from_secs(30),
        max: 2,
        window: HOUR,
        mode: Mode::Act,
        timeout: Millis::from_secs(20),
        does: format!("step {step}"),
        reboot: None,
    }
}

fn reboot(per_day: u32, cut_off_after: Option<Millis>) -> Remedy {
    Remedy {
        max: per_day,
        window: super::settings::DAY,
        reboot: Some(RebootPolicy {
            cut_off_after,
            stay_out: Millis::from_secs(120),
        }),
        ..remedy(100)
    }
}

/// One host with its agent, its disk and its systemd.
struct Host {
    agent: Agent,
    config: Config,
    memory: Memory,
    now: Now,
    /// Real time since the story began; goes on over reboots.
    elapsed: Millis,
    boots: u64,
    runs: u64,
    /// Each treatment that was begun, and when.
    treated: Vec<(Millis, Treatment)>,
    /// Under which permit each reboot was begun.
    under: Vec<Option<CommandId>>,
    events: Vec<Event>,
    sent: Vec<Message>,
    /// What ends when.
    pending: Vec<(Boottime, u64, Outcome)>,
    /// When systemd has the host down.
    goes_at: Option<Boottime>,
    /// What ends otherwise than done.
    fails: BTreeMap<RemedyName, Outcome>,
    /// What helps.
    helps: Option<RemedyName>,
    bad: bool,
    acked: bool,
    beats: u64,
    die_after: Option<usize>,
}

impl Host {
    fn new(remedies: &[(&str, Remedy)]) -> Host {
        let mut config = Config::of_node(NodeId::new("node-1").unwrap());
        let named = |(text, remedy): &(&str, Remedy)| (name(text), remedy.clone());
        config.remedies = remedies.iter().map(named).collect();
        let now = Now {
            boot: Boottime(60_000),
            wall: WallTime(1_000_000),
        };
        let memory = Memory::default();
        let agent = Agent::new(config.clone(), memory.clone(), facts(1, 1), now, 1);
        let mut host = Host {
            agent,
            config,
            memory,
            now,
            elapsed: Millis::ZERO,
            boots: 1,
            runs: 1,
            treated: Vec::new(),
            under: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            pending: Vec::new(),
            goes_at: None,
            fails: BTreeMap::new(),
            helps: None,
            bad: false,
            acked: true,
            beats: 0,
            die_after: None,
        };
        host.effects();
        host.begin();
        host
    }

    /// What each run of the agent hears first.
    fn begin(&mut self) {
        self.input(Input::LinkUp);
        self.look();
    }

    fn look(&mut self) {
        self.input(Input::Sample(Box::new(Sample {
            at: self.now.boot,
            ..Sample::default()
        })));
        let finding = Finding {
            part: "disk".into(),
            reason: Reason::Other("bad".into()),
            severity: Severity::Critical,
            message: "it does not answer".into(),
            evidence: BTreeMap::from([("latency_ms".to_string(), "9000".to_string())]),
        };
        let findings = if self.bad { vec![finding] } else { vec![] };
        self.input(Input::PluginReport {
            plugin: "probe".into(),
            report: PluginReport::Findings(findings),
        });
    }

    fn input(&mut self, input: Input) {
        self.agent.handle(self.now, input);
        self.effects();
    }

    fn effects(&mut self) {
        while let Some(effect) = self.agent.poll_effect() {
            self.effect(effect);
            match &mut self.die_after {
                Some(0) => {
                    self.die_after = None;
                    return self.restart();
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Remember(memory) => self.memory = *memory,
            Effect::SpoolAppend(event) => self.events.push(event),
            Effect::Publish { message, token } => {
                if let Some(token) = token {
                    self.agent.handle(self.now, Input::Delivered(token));
                }
                self.beats += u64::from(matches!(message, Message::Heartbeat(_)));
                self.sent.push(message);
            }
            Effect::Treat(treatment) => self.treat(treatment),
            _ => {}
        }
    }

    fn treat(&mut self, treatment: Treatment) {
        let known = &self.memory.remedies;
        let taken = known.uses.iter().any(|u| u.unit == treatment.remedy);
        assert!(taken, "{treatment:?} before its use is on the disk");
        assert!(treatment.begin_by >= self.now.boot);
        if treatment.reboots {
            let reboot = known.reboot.as_ref().unwrap();
            assert_eq!(reboot.boot_id, boot_id(self.boots));
            self.under.push(reboot.permit.clone());
            if !self.fails.contains_key(&treatment.remedy) {
                self.goes_at = Some(self.now.boot + Millis::from_secs(5));
            }
        } else {
            assert_eq!(known.intent.as_ref().map(|i| i.id), Some(treatment.id));
        }
        let outcome = self.fails.get(&treatment.remedy).cloned();
        let outcome = outcome.unwrap_or(Outcome::Done);
        if outcome == Outcome::Done && self.helps.as_ref() == Some(&treatment.remedy) {
            self.bad = false;
        }
        self.pending
            .push((self.now.boot + SECOND, treatment.id, outcome));
        self.treated.push((self.elapsed, treatment));
    }

    /// The agent dies and comes back.
    fn restart(&mut self) {
        self.runs += 1;
        self.pending.clear();
        let facts = facts(self.boots, self.runs);
        self.agent = Agent::new(self.config.clone(), self.memory.clone(), facts, self.now, 1);
        self.effects();
        self.begin();
    }

    /// The host goes down and comes back.
    fn reboot(&mut self) {
        self.boots += 1;
        self.goes_at = None;
        self.now.boot = Boottime(2_000);
        self.elapsed = self.elapsed + Millis(30_000);
        self.restart();
    }

    fn pass(&mut self, span: Millis) {
        for _ in 0..span.0 / 1000 {
            self.now.boot = self.now.boot + SECOND;
            self.now.wall = WallTime(self.now.wall.0 + 1000);
            self.elapsed = self.elapsed + SECOND;
            if self.goes_at.is_some_and(|at| at <= self.now.boot) {
                self.reboot();
            }
            let now = self.now.boot;
            let (due, later) = self.pending.drain(..).partition(|(at, ..)| *at <= now);
            self.pending = later;
            let due: Vec<(Boottime, u64, Outcome)> = due;
            for (_, id, outcome) in due {
                self.input(Input::TreatmentEnded {
                    id,
                    outcome,
                    command: "as declared".into(),
                    took: SECOND,
                });
            }
            self.look();
            if self.elapsed.0.is_multiple_of(5000) {
                self.ack();
            }
            if self.agent.poll_timeout().is_some_and(|(at, _)| at <= now) {
                self.input(Input::Timer);
                let next = self.agent.poll_timeout();
                assert!(
                    next.as_ref().is_none_or(|(at, _)| *at > now),
                    "{next:?} at {now:?}"
                );
            }
        }
    }

    /// The coordinator answers the newest heartbeat.
    fn ack(&mut self) {
        if !self.acked {
            return;
        }
        let ack = LeaseAck {
            epoch: Epoch(1),
            session: session(self.boots, self.runs),
            n: self.beats,
            term: Millis::from_secs(20),
            grants: vec![],
            stream: None,
            events_stored: Seq(0),
        };
        self.input(Input::Received {
            message: ToNode::Lease(ack),
            retained: false,
        });
    }

    /// A permit for a boot arrives.
    fn permit(&mut self, id: &str, boot: u64, not_after: Boottime) -> Answer {
        self.sent.clear();
        let command = Command {
            id: CommandId::new(id).unwrap(),
            node: NodeId::new("node-1").unwrap(),
            boot_id: boot_id(boot),
            epoch: Epoch(1),
            not_after,
            body: CommandBody::Reboot,
        };
        self.input(Input::Received {
            message: ToNode::Command(command),
            retained: false,
        });
        let mut answers = self.sent.iter().filter_map(|message| match message {
            Message::Ack(ack) if ack.id.as_str() == id => Some(ack.answer.clone()),
            _ => None,
        });
        // No answer leaves an agent that died over it.
        answers.next_back().unwrap_or(Answer::Taken)
    }

    fn permit_now(&mut self, id: &str) -> Answer {
        self.permit(id, self.boots, self.now.boot + Millis::from_secs(30))
    }

    /// What its newest heartbeat says of reboots.
    fn word(&self) -> Option<RebootWord> {
        let beats = self.sent.iter().rev().find_map(|message| match message {
            Message::Heartbeat(beat) => Some(beat.reboot.clone()),
            _ => None,
        });
        beats.flatten()
    }

    fn wants(&self) -> bool {
        matches!(self.word(), Some(RebootWord::Wanted(_)))
    }

    fn done(&self) -> Vec<&str> {
        self.treated
            .iter()
            .map(|(_, t)| t.remedy.as_str())
            .collect()
    }

    /// What was told of remedies, in few words.
    fn told(&self) -> Vec<String> {
        let told = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Remedy(record) => Some(match &record.step {
                RemedyStep::Advised => format!("{} advised", record.remedy),
                RemedyStep::LeftOut(_) => format!("{} left out", record.remedy),
                RemedyStep::Ended(outcome) => format!("{} {outcome:?}", record.remedy),
            }),
            EventKind::Reboot(step) => {
                let text = format!("{step:?}");
                let end = text.find([' ', '{']).unwrap_or(text.len());
                Some(format!("reboot {}", &text[..end]))
            }
            _ => None,
        });
        told.collect()
    }

    fn given_up(&self) -> bool {
        let status = self.agent.status(self.now);
        let spent = |c: &nodemedic_protocol::Condition| c.reason == Reason::RemediesSpent;
        let paged = status.conditions.iter().any(spent);
        assert_eq!(paged, status.drain_wanted.is_some());
        paged
    }
}

fn boot_id(boot: u64) -> BootId {
    BootId::new(format!("boot-{boot}")).unwrap()
}

fn session(boot: u64, run: u64) -> Session {
    Session {
        boot_id: boot_id(boot),
        session_id: SessionId::new(format!("run-{run}")).unwrap(),
    }
}

fn facts(boot: u64, run: u64) -> Facts {
    Facts {
        session: session(boot, run),
        version: "1.0".to_string(),
        inventory: Inventory::default(),
        capacity: Capacity::default(),
        spool: Spooled {
            stream: StreamId::new("stream").unwrap(),
            trimmed: Seq(0),
            events: Vec::new(),
        },
        leases: None,
    }
}
