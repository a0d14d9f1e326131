//! Stops a unit, proves that nothing of it runs, and keeps a fenced one out.

use std::time::Duration;

use nodemedic_agent_core::{Act, Seen};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::bus::Attached;
use super::{SystemdUnit, cgroup, wait_for};

/// How long what was sent SIGKILL may take to leave its cgroup.
const KILL_ROUNDS: u32 = 50;
const KILL_ROUND: Duration = Duration::from_millis(100);

impl SystemdUnit {
    pub(super) async fn stop(&mut self, act: &Act) -> Result<(), String> {
        self.read().await?;
        let (name, group) = (self.name.clone(), self.control_group.clone());
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
            Err(error) => return Err(format!("systemd refused to stop {name}: {error}")),
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

    /// Stops it, and masks a service until the next boot, so that no dependency, timer or socket
    /// brings it back. A unit file of the administrator in /etc is stronger than such a mask; the
    /// proof that nothing runs does not rest on it.
    pub(super) async fn fence(&mut self, act: &Act) -> Result<(), String> {
        self.stop(act).await?;
        if !self.is_service() {
            return Ok(());
        }
        let name = self.name.clone();
        let attached = self.attach().await?;
        let masked = attached
            .manager
            .mask_unit_files(vec![name.clone()], true, false)
            .await;
        match masked {
            Ok(_) => reload(attached).await,
            Err(error) => {
                tracing::warn!(unit = %name, %error, "stopped and proved so, but cannot be masked");
            }
        }
        match self.observe().await {
            Seen::NotRunning { .. } => Ok(()),
            Seen::Running { .. } => Err(format!("{name} was started again while it was fenced")),
            Seen::Unknown { why } => Err(why),
        }
    }

    /// Lets a fenced one back.
    pub(super) async fn unmask(&mut self) -> Result<(), String> {
        if !self.is_service() {
            return Ok(());
        }
        let name = self.name.clone();
        let attached = self.attach().await?;
        attached
            .manager
            .unmask_unit_files(vec![name.clone()], true)
            .await
            .map_err(|error| format!("systemd refused to unmask {name}: {error}"))?;
        reload(attached).await;
        Ok(())
    }

    /// Kills what is left in the cgroup and proves that it is empty.
    async fn empty(&mut self, group: &str) -> Result<(), String> {
        let mut left = Vec::new();
        for _ in 0..KILL_ROUNDS {
            left = self.members(group).await?;
            if left.is_empty() {
                return Ok(());
            }
            if let Some(attached) = &self.attached {
                // Refused for a unit that is inactive already; then we do it.
                let _then_by_hand = kill_unit(attached, &self.name).await;
            }
            let (root, path) = (self.cgroup_root.clone(), group.to_owned());
            let killed = tokio::task::spawn_blocking(move || cgroup::kill(&root, &path));
            killed.await.map_err(|error| error.to_string())??;
            sleep(KILL_ROUND).await;
        }
        Err(format!("still in {group} after SIGKILL: {left:?}"))
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

/// Makes systemd see a changed mask. Without it the mask holds from the next reload on.
async fn reload(attached: &Attached) {
    if let Err(error) = attached.manager.reload().await {
        tracing::warn!(%error, "systemd did not reload");
    }
}
