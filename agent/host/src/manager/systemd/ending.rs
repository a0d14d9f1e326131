//! Stops a unit, proves that nothing of it runs, and keeps a fenced one out.

use nodemedic_agent_core::{Act, Seen};
use nodemedic_helper::{Request, cgroup};
use rustix::process::Signal;
use tokio::time::timeout;

use super::bus::Attached;
use super::{SystemdUnit, refusal, wait_for};

impl SystemdUnit {
    pub(super) async fn stop(&mut self, act: &Act) -> Result<(), String> {
        self.read().await?;
        let (name, group) = (self.name.clone(), self.control_group.clone());
        let is_service = self.is_service();
        let attached = self.attach().await?;
        let job = attached
            .manager
            .stop_unit(name.clone(), "replace".to_owned())
            .await;
        match job {
            Ok(job) => {
                let wait = timeout(
                    act.stop_grace.to_duration(),
                    wait_for(attached, job.as_str()),
                );
                if let Ok(ended) = wait.await {
                    ended?;
                } else {
                    kill_unit(attached, &name).await?;
                }
            }
            // Not loaded and not to be found: nothing of it runs, which is proved below.
            Err(error) if error.to_string().contains("NoSuchUnit") => {}
            Err(error) => return Err(refusal::text("stop", &name, is_service, &error)),
        }
        self.stopped_by_us = true;
        self.empty(&group).await?;
        match self.observe().await {
            Seen::NotRunning { .. } => {
                self.control_group.clear();
                self.release(&group).await;
                Ok(())
            }
            Seen::Running { pid, .. } => Err(format!("{name} runs again as process {pid:?}")),
            Seen::Unknown { why } => Err(why),
        }
    }

    /// Kills all of it without asking, and proves that nothing is left. The stop that follows keeps
    /// systemd from starting it by its own Restart= in between.
    pub(super) async fn kill(&mut self, act: &Act) -> Result<(), String> {
        self.read().await?;
        let name = self.name.clone();
        let attached = self.attach().await?;
        // Refused for a unit of which nothing runs; whether that is so is proved below.
        let _then_nothing_runs = kill_unit(attached, &name).await;
        self.stop(act).await
    }

    /// Stops it, and has a service kept out, over reboots, so that no dependency, timer, socket or
    /// boot brings it back. What is reported was read back: the mask, the rules of its ports, and
    /// once more that nothing of it runs.
    pub(super) async fn fence(&mut self, act: &Act) -> Result<(), String> {
        self.read().await?;
        let group = self.control_group.clone();
        self.stop(act).await?;
        if !self.is_service() {
            return Ok(());
        }
        let unit = self.name.clone();
        self.helper.ask(Request::Fence { unit }).await?;
        // Between the stop and the mask somebody may have started it.
        let left = self.members(&group).await?;
        match self.observe().await {
            Seen::NotRunning { .. } if left.is_empty() => Ok(()),
            Seen::Unknown { why } => Err(why),
            _ => Err(format!(
                "{} was started again while it was fenced",
                self.name
            )),
        }
    }

    /// Lets a fenced one back: undoes what was done to keep it out.
    pub(super) async fn unfence(&mut self) -> Result<(), String> {
        if !self.is_service() {
            return Ok(());
        }
        let unit = self.name.clone();
        self.helper.ask(Request::Unfence { unit }).await.map(drop)
    }

    /// Kills what is left in the cgroup and proves that it is empty.
    async fn empty(&mut self, group: &str) -> Result<(), String> {
        if self.members(group).await?.is_empty() {
            return Ok(());
        }
        if let Some(attached) = &self.attached {
            // Refused for a unit that is inactive already, and what it forks meanwhile escapes.
            let _then_by_its_cgroup = kill_unit(attached, &self.name).await;
        }
        let kill = Request::Kill {
            unit: self.name.clone(),
            cgroup: group.to_owned(),
        };
        self.helper.ask(kill).await?;
        // The proof is our own look.
        match self.members(group).await?.as_slice() {
            [] => Ok(()),
            left => Err(format!("still in {group} after SIGKILL: {left:?}")),
        }
    }

    pub(super) async fn members(&self, group: &str) -> Result<Vec<u32>, String> {
        let (root, group) = (self.cgroup_root.clone(), group.to_owned());
        tokio::task::spawn_blocking(move || cgroup::members(&root, &group))
            .await
            .map_err(|error| error.to_string())?
    }
}

async fn kill_unit(attached: &Attached, name: &str) -> Result<(), String> {
    let signal = Signal::KILL.as_raw();
    attached
        .manager
        .kill_unit(name.to_owned(), "all".to_owned(), signal)
        .await
        .map_err(|error| format!("systemd refused to kill {name}: {error}"))
}
