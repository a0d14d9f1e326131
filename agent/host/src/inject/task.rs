//! The task that keeps the time of faults: begins them, turns what flaps, takes them back, and
//! tries again what could not be taken back.

use std::path::PathBuf;
use std::time::Duration;

use nodemedic_agent_core::Input;
use nodemedic_edge::clock;
use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::inject::{Fault, Injection, SPAN_MAX, SPAN_MIN};
use nodemedic_protocol::{Boottime, Component, Millis};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::record::{Record, Records, Undo};
use super::{Answer, Asked, Order, Settings, fill, hang, nic};
use crate::diagnose::Subject;

/// Faults at the same time. Who breaks more at once learns nothing from what follows.
pub const STANDING_MAX: usize = 8;

/// What may wait for a disk or for another program is given up after so long.
const STEP_WITHIN: Millis = Millis::from_secs(5);

/// A fault that could not be taken back is tried again after this.
const RETRY_AFTER: Millis = Millis::from_secs(5);

/// The loop turns at least this often while a fault stands: tokio's timers do not count suspend.
const TURN_EVERY: Millis = Millis::from_secs(1);

/// A fault that stands.
#[derive(Debug)]
struct Standing {
    record: Record,
    until: Boottime,
    /// Why it could not be taken back, and when that is tried again.
    stuck: Option<(String, Boottime)>,
    flap: Option<nic::Flap>,
}

impl Standing {
    fn wake(&self) -> Boottime {
        let due = self.stuck.as_ref().map_or(self.until, |(_, at)| *at);
        let flap = self.flap.as_ref().map(nic::Flap::due);
        flap.map_or(due, |flap| flap.min(due))
    }

    fn told(&self, now: Boottime) -> Injection {
        Injection {
            id: self.record.id,
            fault: self.record.fault.clone(),
            since: self.record.since,
            left: self.until.since(now),
            detail: self.record.detail.clone(),
            stuck: self.stuck.as_ref().map(|(why, _)| why.clone()),
        }
    }
}

/// The task.
#[derive(Debug)]
pub struct Task {
    settings: Settings,
    records: Records,
    inputs: mpsc::Sender<Input>,
    standing: Vec<Standing>,
    last_id: u64,
}

impl Task {
    /// Nothing stands yet.
    pub fn new(settings: Settings, inputs: mpsc::Sender<Input>) -> Task {
        Task {
            records: Records::new(settings.records.clone()),
            settings,
            inputs,
            standing: Vec::new(),
            last_id: 0,
        }
    }

    /// Runs until nobody gives orders any more, and takes everything back then.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Asked>) {
        self.take_back_left_overs().await;
        loop {
            let now = clock::boottime();
            let wake = self.standing.iter().map(Standing::wake).min();
            let wait = wake.map_or(Duration::MAX, |at| {
                at.since(now).min(TURN_EVERY).to_duration()
            });
            let asked = tokio::select! {
                asked = orders.recv() => Some(asked),
                () = sleep(wait) => None,
            };
            match asked {
                Some(Some(asked)) => {
                    let answer = self.obey(asked.order).await;
                    // A client that went away does not need the answer.
                    let _ = asked.answer.send(answer);
                }
                Some(None) => {
                    self.undo_all("the agent ends").await;
                    return;
                }
                None => self.tick().await,
            }
        }
    }

    /// What an earlier run broke.
    async fn take_back_left_overs(&mut self) {
        let left = match self.records.all() {
            Ok(left) => left,
            Err(error) => {
                tracing::error!("{error}; what was injected before may still stand");
                return;
            }
        };
        for record in left {
            self.last_id = self.last_id.max(record.id);
            let until = clock::boottime();
            let standing = Standing {
                record,
                until,
                stuck: None,
                flap: None,
            };
            self.standing.push(standing);
        }
        self.undo_all("the agent began again").await;
    }

    async fn obey(&mut self, order: Order) -> Answer {
        let now = clock::boottime();
        match order {
            Order::List => Ok(self.standing.iter().map(|s| s.told(now)).collect()),
            Order::Begin {
                fault,
                span,
                subject,
                fill_paths,
            } => {
                let begun = self
                    .begin(fault, span, subject.as_deref(), &fill_paths)
                    .await;
                begun.map(|injection| vec![injection])
            }
            Order::Undo { id } => {
                let wanted = |s: &Standing| id.is_none_or(|id| s.record.id == id);
                let told: Vec<Injection> = self
                    .standing
                    .iter()
                    .filter(|s| wanted(s))
                    .map(|s| s.told(now))
                    .collect();
                if let (Some(id), true) = (id, told.is_empty()) {
                    return Err(format!("no fault {id} stands: `nodemedic inject --list`"));
                }
                for one in &told {
                    self.undo(one.id, "a person says so").await;
                }
                let stuck = self.standing.iter().filter(|s| wanted(s));
                let stuck: Vec<String> = stuck
                    .filter_map(|s| Some(s.stuck.as_ref()?.0.clone()))
                    .collect();
                if stuck.is_empty() {
                    Ok(told)
                } else {
                    Err(format!("{}; it is tried again", stuck.join("; ")))
                }
            }
        }
    }

    async fn begin(
        &mut self,
        fault: Fault,
        span: Millis,
        subject: Option<&Subject>,
        fill_paths: &[PathBuf],
    ) -> Result<Injection, String> {
        if !(SPAN_MIN..=SPAN_MAX).contains(&span) {
            return Err(format!("a fault lasts from {SPAN_MIN} to {SPAN_MAX}"));
        }
        if self.standing.len() >= STANDING_MAX {
            return Err(format!(
                "{STANDING_MAX} faults stand already: take one back first"
            ));
        }
        self.last_id += 1;
        let now = clock::now();
        let mut record = Record {
            id: self.last_id,
            boot_id: self.settings.boot_id.clone(),
            fault,
            since: now.wall,
            undo: Undo::Nothing,
            detail: String::new(),
        };
        let begun = timeout(
            STEP_WITHIN.to_duration(),
            self.break_it(&mut record, subject, fill_paths),
        );
        let begun = begun.await;
        let begun = begun.unwrap_or_else(|_| Err(format!("not done within {STEP_WITHIN}")));
        let over = record.undo == Undo::Nothing;
        let component = component(&record, subject);
        let standing = Standing {
            until: now.boot + if over { Millis::ZERO } else { span },
            flap: nic::Flap::of(&record, now.boot),
            record,
            stuck: None,
        };
        let told = standing.told(now.boot);
        if let Err(why) = begun {
            if !over {
                // Half done, perhaps.
                self.standing.push(standing);
                self.undo(told.id, "it could not be begun").await;
            }
            return Err(why);
        }
        let kind = EventKind::FaultInjected {
            id: told.id,
            fault: told.fault.to_string(),
            span: if over { Millis::ZERO } else { span },
        };
        self.note(component, kind).await;
        if !over {
            self.standing.push(standing);
        }
        Ok(told)
    }

    /// Writes down how to take it back, then breaks it.
    async fn break_it(
        &self,
        record: &mut Record,
        subject: Option<&Subject>,
        fill_paths: &[PathBuf],
    ) -> Result<(), String> {
        match record.fault.clone() {
            Fault::Kill { .. } => {
                let subject = subject.ok_or("nobody to kill")?;
                record.detail = hang::kill(&self.settings, subject).await?;
            }
            Fault::Hang { .. } => {
                let subject = subject.ok_or("nobody to stop")?;
                hang::stop(&self.settings, &self.records, record, subject).await?;
            }
            Fault::FillDisk { bytes, path: None } => {
                fill::scratch(&self.settings, &self.records, record, bytes).await?;
            }
            Fault::FillDisk {
                bytes,
                path: Some(path),
            } => {
                fill::directory(&self.records, record, path.into(), bytes, fill_paths).await?;
            }
            Fault::FlapNic { .. } => nic::make(&self.records, record).await?,
            Fault::Condition {
                component,
                severity,
                message,
            } => {
                record.undo = Undo::Clear {
                    component: component.clone(),
                };
                self.records.keep(record)?;
                record.detail = format!("raised on {component}");
                self.pretend(record.id, component, Some((severity, message)))
                    .await;
            }
        }
        Ok(())
    }

    async fn pretend(
        &self,
        id: u64,
        component: Component,
        condition: Option<(nodemedic_protocol::Severity, String)>,
    ) {
        let input = Input::Pretended {
            id,
            component,
            condition,
        };
        let _agent_ends = self.inputs.send(input).await;
    }

    async fn note(&self, component: Component, kind: EventKind) {
        let _agent_ends = self.inputs.send(Input::Noted { component, kind }).await;
    }

    async fn tick(&mut self) {
        let now = clock::boottime();
        for standing in &mut self.standing {
            if let Some(flap) = &mut standing.flap
                && flap.due() <= now
            {
                flap.turn(now).await;
            }
        }
        let is_due = |s: &&Standing| s.stuck.as_ref().map_or(s.until, |(_, at)| *at) <= now;
        let due: Vec<u64> = self
            .standing
            .iter()
            .filter(is_due)
            .map(|s| s.record.id)
            .collect();
        for id in due {
            self.undo(id, "its time is over").await;
        }
    }

    async fn undo_all(&mut self, because: &str) {
        let all: Vec<u64> = self.standing.iter().map(|s| s.record.id).collect();
        for id in all {
            self.undo(id, because).await;
        }
    }

    /// Takes one back; what cannot be taken back stays on the list.
    async fn undo(&mut self, id: u64, because: &str) {
        let Some(at) = self.standing.iter().position(|s| s.record.id == id) else {
            return;
        };
        let record = self.standing[at].record.clone();
        let same_boot = record.boot_id == self.settings.boot_id;
        let undone = timeout(STEP_WITHIN.to_duration(), take_back(&record, same_boot));
        let undone = undone.await;
        let undone = undone.unwrap_or_else(|_| Err(format!("not done within {STEP_WITHIN}")));
        if let Err(why) = undone.and_then(|()| self.records.remove(&record)) {
            let why = format!("fault {id} ({}) cannot be taken back: {why}", record.fault);
            tracing::error!("{why}; it is tried again");
            let standing = &mut self.standing[at];
            standing.flap = None;
            standing.stuck = Some((why, clock::boottime() + RETRY_AFTER));
            return;
        }
        self.standing.remove(at);
        if let Undo::Clear { component } = &record.undo {
            self.pretend(id, component.clone(), None).await;
        }
        let kind = EventKind::FaultUndone {
            id,
            fault: record.fault.to_string(),
            because: because.to_owned(),
        };
        self.note(component(&record, None), kind).await;
    }
}

/// What the event is about.
fn component(record: &Record, subject: Option<&Subject>) -> Component {
    match (&record.undo, subject) {
        (Undo::Clear { component }, _) => component.clone(),
        (Undo::Continue { of, .. }, _) => of.clone(),
        (_, Some(subject)) => subject.key.component(),
        _ => Component::Host,
    }
}

/// Undoes it; what is gone by itself is undone too.
async fn take_back(record: &Record, same_boot: bool) -> Result<(), String> {
    match &record.undo {
        Undo::Remove { path } => fill::remove(path).await,
        Undo::Continue { processes, .. } if same_boot => hang::go_on(processes),
        Undo::Unmount { path } if same_boot => fill::unmount(path).await,
        Undo::DeleteLink { name } if same_boot => nic::delete(name).await,
        // The core ends what it pretends; nothing else outlives a boot.
        _ => Ok(()),
    }
}
