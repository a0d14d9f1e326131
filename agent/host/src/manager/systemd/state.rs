//! What systemd's properties say about a unit, as one value. Pure; systemd.unit(5) and the D-Bus
//! page org.freedesktop.systemd1(5) name the states.

use nodemedic_agent_core::{DownCause, Seen};
use nodemedic_protocol::{Boottime, Generation};

/// The properties that matter, as they were read together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// `loaded`, `not-found`, `masked`, ...
    pub load_state: String,
    /// `active`, `inactive`, `failed`, ...
    pub active_state: String,
    /// `running`, `auto-restart`, `stop-sigterm`, ...
    pub sub_state: String,
    /// Main process; 0 for none.
    pub main_pid: u32,
    /// `success`, `exit-code`, `signal`, ...
    pub result: String,
    /// How the last main process ended: 1 exited, 2 killed, 3 dumped; 0 when it did not.
    pub exec_main_code: i32,
    /// Its status or signal.
    pub exec_main_status: i32,
    /// When it last became inactive or failed; absent when it never was active on this boot.
    pub down_since: Option<Boottime>,
    /// When its newest start began; zero when none did on this boot.
    pub started: Option<Boottime>,
    /// True while a job of it waits or runs.
    pub has_job: bool,
    /// Its cgroup, below the cgroup root; empty for none.
    pub control_group: String,
}

/// What is known beside the properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// A job of somebody else ended while we looked, so an end without failure was asked for.
    pub job_by_other: bool,
    /// It was never seen otherwise: nobody knows how it came to be so.
    pub first_look: bool,
    /// We stopped it.
    pub stopped_by_us: bool,
    /// It is work of the fleet: nobody but us starts it.
    pub is_work: bool,
    /// The grant kept beside it.
    pub generation: Option<Generation>,
}

/// Name of what is seen.
#[must_use]
pub fn view(unit: &str, properties: &Properties, hints: Hints) -> Seen {
    let pid = (properties.main_pid > 0).then_some(properties.main_pid);
    let running = Seen::Running {
        pid,
        generation: hints.generation,
    };
    match properties.active_state.as_str() {
        "active" | "reloading" | "refreshing" => running,
        // systemd's own Restart= is at it, and is not interfered with.
        "activating" if properties.sub_state.starts_with("auto-restart") => Seen::Unknown {
            why: format!("{unit} {}: systemd restarts it itself", ended(properties)),
        },
        "activating" if pid.is_some() => running,
        "inactive" | "failed" if properties.has_job => Seen::Unknown {
            why: format!("{unit} has a job of systemd under way"),
        },
        "inactive" | "failed" if hints.stopped_by_us => Seen::NotRunning {
            cause: DownCause::NotStarted,
        },
        // Masked while it was down: somebody does not want it to run.
        "failed" if properties.load_state == "masked" => Seen::NotRunning {
            cause: DownCause::StoppedByOther,
        },
        "failed" => Seen::NotRunning {
            cause: ended(properties),
        },
        "inactive" => Seen::NotRunning {
            cause: inactive(unit, properties, hints),
        },
        // Half way: the next change tells.
        other => Seen::Unknown {
            why: format!("{unit} is {other} ({})", properties.sub_state),
        },
    }
}

fn inactive(unit: &str, properties: &Properties, hints: Hints) -> DownCause {
    match properties.load_state.as_str() {
        "not-found" => return DownCause::Failed(format!("unit {unit} not found")),
        "masked" => return DownCause::StoppedByOther,
        "bad-setting" | "error" => {
            return DownCause::Failed(format!("unit {unit} has a broken definition"));
        }
        _ => {}
    }
    let Some(since) = properties.down_since else {
        // What the administrator did not start is not ours to start.
        return if hints.is_work {
            DownCause::NotStarted
        } else {
            DownCause::StoppedByOther
        };
    };
    // An end without failure: asked for by a job, or by itself. Of one that nobody saw the core
    // takes the kinder reading: an administrator's stop is respected.
    if hints.job_by_other {
        DownCause::StoppedByOther
    } else if hints.first_look {
        DownCause::FoundDown { since }
    } else {
        ended(properties)
    }
}

fn ended(properties: &Properties) -> DownCause {
    match (properties.result.as_str(), properties.exec_main_code) {
        ("exit-code" | "success", 1) => DownCause::Exited(properties.exec_main_status),
        ("signal" | "core-dump" | "success" | "watchdog", 2 | 3) => {
            DownCause::Killed(properties.exec_main_status)
        }
        ("success", _) => DownCause::Gone,
        (result, _) => DownCause::Failed(format!("{} ({result})", properties.active_state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Boottime = Boottime(5);

    fn unit(active: &str, sub: &str) -> Properties {
        Properties {
            load_state: "loaded".into(),
            active_state: active.into(),
            sub_state: sub.into(),
            result: "success".into(),
            down_since: Some(SINCE),
            ..Properties::default()
        }
    }

    fn cause(properties: &Properties, hints: Hints) -> DownCause {
        match view("x.service", properties, hints) {
            Seen::NotRunning { cause } => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_running_unit_has_its_pid_and_generation() {
        let properties = Properties {
            main_pid: 7,
            ..unit("active", "running")
        };
        let hints = Hints {
            generation: Some(Generation(3)),
            ..Hints::default()
        };
        let running = Seen::Running {
            pid: Some(7),
            generation: Some(Generation(3)),
        };
        assert_eq!(view("x.service", &properties, hints), running);
        let starting = Properties {
            active_state: "activating".into(),
            ..properties
        };
        assert_eq!(view("x.service", &starting, hints), running);
    }

    #[test]
    fn a_crash_is_told_from_a_stop() {
        let none = Hints::default();
        let killed = Properties {
            result: "signal".into(),
            exec_main_code: 2,
            exec_main_status: 9,
            ..unit("failed", "failed")
        };
        assert_eq!(cause(&killed, none), DownCause::Killed(9));
        let exited = Properties {
            result: "exit-code".into(),
            exec_main_code: 1,
            exec_main_status: 3,
            ..unit("failed", "failed")
        };
        assert_eq!(cause(&exited, none), DownCause::Exited(3));
        let done = Properties {
            exec_main_code: 1,
            ..unit("inactive", "dead")
        };
        assert_eq!(cause(&done, none), DownCause::Exited(0));
        let by_job = Hints {
            job_by_other: true,
            ..none
        };
        assert_eq!(cause(&done, by_job), DownCause::StoppedByOther);
        let first = Hints {
            first_look: true,
            ..none
        };
        assert_eq!(cause(&done, first), DownCause::FoundDown { since: SINCE });
        assert_eq!(cause(&killed, first), DownCause::Killed(9));
    }

    #[test]
    fn what_never_ran_is_missing_or_is_masked_says_so() {
        let never = Properties {
            down_since: None,
            ..unit("inactive", "dead")
        };
        assert_eq!(cause(&never, Hints::default()), DownCause::StoppedByOther);
        let work = Hints {
            is_work: true,
            ..Hints::default()
        };
        assert_eq!(cause(&never, work), DownCause::NotStarted);
        let masked = Properties {
            load_state: "masked".into(),
            ..never.clone()
        };
        assert_eq!(cause(&masked, Hints::default()), DownCause::StoppedByOther);
        let missing = Properties {
            load_state: "not-found".into(),
            ..never
        };
        let text = cause(&missing, Hints::default()).to_string();
        assert_eq!(text, "unit x.service not found");
        let limit = Properties {
            result: "start-limit-hit".into(),
            ..unit("failed", "failed")
        };
        let text = cause(&limit, Hints::default()).to_string();
        assert_eq!(text, "failed (start-limit-hit)");
    }

    #[test]
    fn half_way_is_unknown() {
        let seen = view(
            "x.service",
            &unit("deactivating", "stop-sigterm"),
            Hints::default(),
        );
        assert_eq!(
            seen,
            Seen::Unknown {
                why: "x.service is deactivating (stop-sigterm)".into()
            }
        );
        let restarting = Properties {
            result: "signal".into(),
            exec_main_code: 2,
            exec_main_status: 9,
            ..unit("activating", "auto-restart")
        };
        let why = "x.service killed by signal 9: systemd restarts it itself".into();
        assert_eq!(
            view("x.service", &restarting, Hints::default()),
            Seen::Unknown { why }
        );
    }
}
