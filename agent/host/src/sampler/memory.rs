//! Memory and swap, from /proc/meminfo (proc_meminfo(5), units of 1,024 bytes).

use nodemedic_protocol::sample::Memory;

use super::source::Malformed;

/// Reads /proc/meminfo.
///
/// # Errors
/// When it has no `MemTotal`; every other line may be missing (`MemAvailable` is, before 3.14).
pub fn parse(text: &str) -> Result<Memory, Malformed> {
    let mut memory = Memory::default();
    let mut total = None;
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        let slot = match key {
            "MemTotal" => &mut total,
            "MemAvailable" => &mut memory.available_bytes,
            "MemFree" => &mut memory.free_bytes,
            "Cached" => &mut memory.cached_bytes,
            "Dirty" => &mut memory.dirty_bytes,
            "SwapTotal" => &mut memory.swap_total_bytes,
            "SwapFree" => &mut memory.swap_free_bytes,
            _ => continue,
        };
        *slot = kibibytes(rest);
    }
    memory.total_bytes = total.ok_or(Malformed("no MemTotal line with a number"))?;
    Ok(memory)
}

fn kibibytes(rest: &str) -> Option<u64> {
    let mut fields = rest.split_ascii_whitespace();
    let number: u64 = fields.next()?.parse().ok()?;
    match fields.next() {
        Some("kB") => number.checked_mul(1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_line_is_absent_and_never_zero() {
        let memory = parse("MemTotal: 100 kB\nMemFree:  7 kB\nSwapTotal: 0 kB\n").unwrap();
        assert_eq!(memory.total_bytes, 102_400);
        assert_eq!(memory.free_bytes, Some(7168));
        assert_eq!(memory.available_bytes, None);
        assert_eq!(memory.swap_total_bytes, Some(0));
    }

    #[test]
    fn absurd_numbers_are_absent() {
        let memory = parse("MemTotal: 100 kB\nMemFree: 99999999999999999999 kB\nDirty: 3 mB\n");
        let memory = memory.unwrap();
        assert_eq!((memory.free_bytes, memory.dirty_bytes), (None, None));
        assert!(parse("MemFree: 7 kB\n").is_err());
        assert!(parse("MemTotal: -1 kB\n").is_err());
    }
}
