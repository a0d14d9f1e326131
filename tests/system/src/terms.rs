//! What the played site is told: its works, and how long its leases and silences last.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How a work is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// One holder, stopped when its lease ends.
    Stop,
    /// One holder, kept when its lease ends.
    Keep,
    /// Two holders that need no lease.
    Two,
}

/// One work of the site.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Its name.
    pub name: &'static str,
    /// How it is shared.
    pub shared: Shared,
    port: u16,
}

impl Work {
    /// One holder at most.
    #[must_use]
    pub fn exclusive(&self) -> bool {
        self.shared != Shared::Two
    }

    /// How many instances there are when all is well.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.exclusive() { 1 } else { 2 }
    }
}

const fn work(name: &'static str, shared: Shared, port: u16) -> Work {
    Work { name, shared, port }
}

/// All works. Three that stop, so that a struck host most often holds one.
pub const WORKS: &[Work] = &[
    work("till", Shared::Stop, 8001),
    work("mint", Shared::Stop, 8002),
    work("press", Shared::Stop, 8003),
    work("vault", Shared::Keep, 8004),
    work("web", Shared::Two, 8005),
];

/// TOML that declares them.
#[must_use]
pub fn works_toml(program: &Path, log: &Path, terms: &Terms) -> String {
    let mut text = String::new();
    for work in WORKS {
        let sharing = match work.shared {
            Shared::Stop => "exclusive = { on_lease_loss = \"stop\" }",
            Shared::Keep => "exclusive = { on_lease_loss = \"keep\" }",
            Shared::Two => "replicas = 2",
        };
        let _ = write!(
            text,
            "[work.{}]\n{sharing}\ncommand = [\"{}\", \"{}\", \"127.0.0.1:{port}\"]\n\
             probe = {{ http = \"http://127.0.0.1:{port}/\", interval = \"500ms\", \
             timeout = \"500ms\", fail_for = \"1500ms\" }}\nstart_grace = \"5s\"\n\
             stop_grace = \"{}ms\"\n",
            work.name,
            program.display(),
            log.display(),
            terms.stop_grace_ms,
            port = work.port,
        );
    }
    text
}

/// How long things last. All in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of a lease.
    pub term_ms: u64,
    /// Added to the safe time.
    pub margin_ms: u64,
    /// Of each work.
    pub stop_grace_ms: u64,
    /// Of each watchdog.
    pub watchdog_ms: u64,
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Silent for so long: Suspect, Lost; heard for so long: Alive again.
    pub silence_ms: [u64; 3],
    /// After the coordinator's own link is back, so long before silence counts.
    pub reconnect_ms: u64,
    /// So many silent hosts engage the storm brake.
    pub brake_min: u64,
    /// For so long fewer hosts must have been silent before the storm brake lifts.
    pub brake_hold_ms: u64,
}

impl Terms {
    /// As short as a busy machine with two processors allows.
    pub const SHORT: Terms = Terms {
        term_ms: 3000,
        margin_ms: 500,
        stop_grace_ms: 500,
        watchdog_ms: 1000,
        heartbeat_ms: 500,
        silence_ms: [1500, 2500, 1000],
        reconnect_ms: 2500,
        brake_min: 2,
        brake_hold_ms: 3000,
    };

    /// With a storm brake that holds only when every host is silent: it makes double holders no
    /// likelier, and works move more often.
    pub const HASTY: Terms = Terms {
        brake_min: 3,
        ..Terms::SHORT
    };

    /// The same for a broker that goes and comes back: its clients find it again within 15 s (10 s
    /// between two tries, 5 s for one), and nobody may be called Lost before.
    pub const PATIENT: Terms = Terms {
        reconnect_ms: 15_000,
        ..Terms::SHORT
    };

    /// With a grace that is longer than the 4 s of silence after which a watchdog calls a living
    /// agent frozen.
    pub const GENTLE: Terms = Terms {
        stop_grace_ms: 4500,
        ..Terms::SHORT
    };

    /// What a site has that configures nothing.
    pub const DEFAULT: Terms = Terms {
        term_ms: 20_000,
        margin_ms: 2000,
        stop_grace_ms: 10_000,
        watchdog_ms: 10_000,
        heartbeat_ms: 5000,
        silence_ms: [15_000, 30_000, 15_000],
        reconnect_ms: 15_000,
        brake_min: 2,
        brake_hold_ms: 60_000,
    };

    /// The safe time as docs/safety.md computes it, with the default drift of 10 per mille.
    #[must_use]
    pub const fn safe_time(&self) -> Duration {
        let by_its_clock = self.term_ms + self.stop_grace_ms + self.watchdog_ms;
        Duration::from_millis(by_its_clock * 1010 / 1000 + self.margin_ms)
    }

    /// After so long without an answer nothing of a work that stops is left.
    #[must_use]
    pub const fn over_after(&self) -> Duration {
        Duration::from_millis(self.term_ms + self.stop_grace_ms + self.watchdog_ms)
    }

    pub(crate) fn coordinator_toml(&self) -> String {
        let [suspect, lost, returning] = self.silence_ms;
        format!(
            "[lease]\nterm = \"{}ms\"\nmargin = \"{}ms\"\n\
             [liveness]\nheartbeat = \"{}ms\"\nreconnect_within = \"{}ms\"\n\
             suspect_after = \"{suspect}ms\"\nlost_after = \"{lost}ms\"\n\
             returning_for = \"{returning}ms\"\n\
             [brake]\nmin = {}\nhold = \"{}ms\"\n[placement]\nfenced_hold_off = \"2s\"\n",
            self.term_ms,
            self.margin_ms,
            self.heartbeat_ms,
            self.reconnect_ms,
            self.brake_min,
            self.brake_hold_ms
        )
    }

    pub(crate) fn agent_toml(&self) -> String {
        format!("[heartbeat]\ninterval = \"{}ms\"\n", self.heartbeat_ms)
    }
}
