//! Beats and answers as docs/reference/watchdog-beat.md writes them.

use nodemedic_protocol::Millis;
use nodemedic_protocol::work::Enforcement;
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_watchdog::beat::{HEADER, RECORD, Status, VERSION};

use super::{Answered, Named};

fn cgroup(unit: &UnitKey) -> String {
    format!("/system.slice/{unit}.service").replace(' ', "-")
}

/// One promise as docs/reference/watchdog-beat.md writes it.
pub(super) fn record(systemd: bool, named: &Named) -> Option<[u8; RECORD]> {
    let mut bytes = [0; RECORD];
    bytes[..8].copy_from_slice(&named.deadline.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&named.grace.0.to_le_bytes());
    if systemd {
        let path = cgroup(&named.unit);
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&u16::try_from(path.len()).ok()?.to_le_bytes());
        bytes
            .get_mut(32..32 + path.len())?
            .copy_from_slice(path.as_bytes());
    } else {
        let pid = named.leader?;
        bytes[16] = 1;
        bytes[20..24].copy_from_slice(&pid.to_le_bytes());
        bytes[24..32].copy_from_slice(&u64::from(pid).to_le_bytes());
    }
    Some(bytes)
}

/// A beat; the numbers are session, sequence, sent and next.
pub(super) fn datagram(numbers: [u64; 4], records: &[[u8; RECORD]]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(b"NMWD");
    bytes[4..6].copy_from_slice(&[VERSION, 1]);
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    bytes[6..8].copy_from_slice(&count.to_le_bytes());
    for (value, place) in numbers.iter().zip(bytes[8..40].chunks_exact_mut(8)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes.extend(records.iter().flatten());
    bytes
}

/// A number of an answer, of so many bytes.
fn number(answer: &[u8; HEADER], place: usize, bytes: usize) -> u64 {
    let part = answer[place..place + bytes].iter().rev();
    part.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

pub(super) fn read(answer: &[u8; HEADER]) -> Answered {
    let taken = answer[6] == Status::Taken as u8;
    let timeout = Millis(number(answer, 24, 8));
    Answered {
        taken,
        broken: number(answer, 44, 4),
        enforcement: match (taken, answer[7]) {
            (true, 1) => Enforcement::Hardware { timeout },
            (true, 2) => Enforcement::Software { timeout },
            _ => Enforcement::None,
        },
    }
}
