//! Stories of samples: what is raised, when, and what missing data does not do.

use alloc::vec;

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::sample::{Cpu, Filesystem, Nic, PerMille};
use nodemedic_protocol::{Boottime, Now, Severity, WallTime};

use super::*;

struct Host {
    judge: Judge,
    book: Book,
    rules: Rules,
    told: Vec<(Component, EventKind)>,
}

impl Host {
    fn new() -> Host {
        Host {
            judge: Judge::default(),
            book: Book::default(),
            rules: Rules::default(),
            told: Vec::new(),
        }
    }

    /// One sample at this second.
    fn at(&mut self, second: u64, mut sample: Sample) {
        let now = Now {
            boot: Boottime(second * 1000),
            wall: WallTime(0),
        };
        sample.at = now.boot;
        let mut out = Out::new(now);
        self.judge
            .sample(&mut out, &mut self.book, &self.rules, &sample);
        self.told.extend(out.events);
    }

    fn reasons(&self) -> Vec<(Reason, Severity, bool)> {
        self.book
            .all()
            .into_iter()
            .map(|c| (c.reason, c.severity, c.seen))
            .collect()
    }
}

fn busy(per_mille: u32) -> Sample {
    Sample {
        cpu: Some(Cpu {
            online: 4,
            busy: Some(PerMille(per_mille)),
            ..Cpu::default()
        }),
        ..Sample::default()
    }
}

fn space(available: Option<u64>) -> Sample {
    Sample {
        filesystems: vec![Filesystem {
            mount_point: "/data".into(),
            writable: true,
            total_bytes: available.map(|_| 1000),
            available_bytes: available,
            ..Filesystem::default()
        }],
        ..Sample::default()
    }
}

fn link(carrier: Option<bool>, errors: u64) -> Sample {
    Sample {
        nics: vec![Nic {
            name: "eth0".into(),
            carrier,
            errors,
            ..Nic::default()
        }],
        ..Sample::default()
    }
}

#[test]
fn a_processor_is_saturated_only_after_its_whole_window() {
    let mut host = Host::new();
    for second in 0..900 {
        host.at(second, busy(990));
    }
    assert_eq!(host.reasons(), []);
    host.at(900, busy(990));
    assert_eq!(
        host.reasons(),
        [(Reason::CpuSaturated, Severity::Warning, true)]
    );
    for second in 901..1021 {
        host.at(second, busy(100));
    }
    assert_eq!(host.reasons().len(), 1, "119 s of rest are not 120 s");
    host.at(1021, busy(100));
    assert_eq!(host.reasons(), []);
    assert_eq!(host.told.len(), 2);
}

#[test]
fn missing_data_neither_raises_nor_clears() {
    let mut host = Host::new();
    host.at(0, busy(990));
    host.at(500, Sample::default());
    host.at(1000, busy(990));
    assert_eq!(host.reasons(), [], "the window began again at 1000");
    host.at(1900, busy(990));
    host.at(1901, Sample::default());
    assert_eq!(
        host.reasons(),
        [(Reason::CpuSaturated, Severity::Warning, false)],
        "it stands, and nobody sees it"
    );
    host.at(9000, Sample::default());
    assert_eq!(host.reasons().len(), 1);
    host.at(9001, busy(1));
    host.at(9121, busy(1));
    assert_eq!(host.reasons(), []);
}

#[test]
fn space_escalates_and_a_hung_filesystem_is_unknown() {
    let mut host = Host::new();
    host.at(0, space(Some(90)));
    host.at(10, space(Some(90)));
    assert_eq!(
        host.reasons(),
        [(Reason::SpaceLow, Severity::Warning, true)]
    );
    host.at(11, space(Some(20)));
    assert_eq!(
        host.reasons(),
        [(Reason::SpaceLow, Severity::Critical, true)]
    );
    host.at(12, space(None));
    assert_eq!(
        host.reasons(),
        [(Reason::SpaceLow, Severity::Critical, false)]
    );
    assert_eq!(host.told.len(), 2, "raised twice, by severity");
}

#[test]
fn a_filesystem_that_is_unmounted_takes_its_conditions_with_it() {
    let mut host = Host::new();
    host.at(0, space(Some(1)));
    host.at(10, space(Some(1)));
    let mut other = space(Some(900));
    other.filesystems[0].mount_point = "/".into();
    host.at(11, other.clone());
    assert_eq!(host.reasons().len(), 1, "not at once");
    host.at(41, other);
    assert_eq!(host.reasons(), []);
}

#[test]
fn a_filesystem_that_turns_read_only_is_critical_and_an_image_is_not() {
    let mut host = Host::new();
    let mut image = space(Some(0));
    image.filesystems[0].writable = false;
    host.at(0, image.clone());
    host.at(60, image.clone());
    assert_eq!(host.reasons(), []);
    host.at(61, space(Some(900)));
    host.at(62, image.clone());
    host.at(72, image);
    assert_eq!(
        host.reasons(),
        [(Reason::ReadOnly, Severity::Critical, true)]
    );
}

#[test]
fn only_an_interface_that_had_a_link_can_lose_it() {
    let mut host = Host::new();
    for second in 0..20 {
        host.at(second, link(Some(false), 0));
    }
    assert_eq!(host.reasons(), []);
    host.at(20, link(Some(true), 0));
    host.at(21, link(Some(false), 0));
    host.at(26, link(Some(false), 0));
    assert_eq!(
        host.reasons(),
        [(Reason::LinkDown, Severity::Warning, true)]
    );
    host.at(27, link(None, 0));
    assert_eq!(
        host.reasons(),
        [(Reason::LinkDown, Severity::Warning, false)]
    );
}

#[test]
fn errors_are_a_rate_and_a_counter_that_begins_again_is_none() {
    let mut host = Host::new();
    for second in 0..=120 {
        host.at(second, link(Some(true), 5000 + second * 2));
    }
    assert_eq!(
        host.reasons(),
        [(Reason::ErrorsRising, Severity::Warning, true)]
    );
    let mut host = Host::new();
    host.at(0, link(Some(true), 100_000));
    host.at(30, link(Some(true), 0));
    host.at(95, link(Some(true), 1));
    host.at(160, link(Some(true), 2));
    assert_eq!(host.reasons(), []);
}
