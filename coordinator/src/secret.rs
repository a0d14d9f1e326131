//! Random secrets, and comparing them without telling how much of a guess was right.

use std::io::Read;

/// Bytes of a fresh secret: 256 bits, far beyond guessing.
const SECRET_BYTES: usize = 32;

/// A fresh secret as hexadecimal text, from the kernel's random source.
///
/// # Errors
/// When `/dev/urandom` cannot be read.
pub fn fresh() -> std::io::Result<String> {
    let mut bytes = [0_u8; SECRET_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A fresh number, to seed what only must differ from one start to the next.
///
/// # Errors
/// When `/dev/urandom` cannot be read.
pub fn seed() -> std::io::Result<u64> {
    let mut bytes = [0_u8; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// True when both are the same. The time depends on the length of `given` only.
#[must_use]
pub fn same(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != secret.len());
    for (at, byte) in given.iter().enumerate() {
        let other = secret.get(at % secret.len().max(1)).copied().unwrap_or(0);
        difference |= std::hint::black_box(byte ^ other);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_matches() {
        let secret = fresh().unwrap();
        assert_eq!(secret.len(), 64);
        assert!(same(secret.as_bytes(), secret.as_bytes()));
        let twice = format!("{secret}{secret}");
        let other = fresh().unwrap();
        for wrong in ["", &secret[..63], twice.as_str(), other.as_str()] {
            assert!(
                !same(wrong.as_bytes(), secret.as_bytes()),
                "{wrong:?} was accepted"
            );
        }
        assert!(!same(b"x", b""));
    }
}
