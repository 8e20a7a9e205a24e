//! The colours of an H.264 stream, as its sequence parameter set (ITU-T H.264, 7.3.2.1 and annex E) tells them.

use super::colour::{Colour, Matrix};

/// Colours of the sequence parameter set in `nal`, with its header byte; the default where it does not say.
pub fn colour(nal: &[u8]) -> Colour {
    let payload: Vec<u8> = without_emulation_prevention(nal.get(1..).unwrap_or_default());
    read_colour(&mut Bits { bytes: &payload, at: 0 }).unwrap_or_default()
}

/// Bytes without those that keep start codes out.
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let kept = bytes.iter().filter(|byte| {
        let prevents = **byte == 3 && zeros >= 2;
        zeros = if **byte == 0 { zeros + 1 } else { 0 };
        !prevents
    });
    kept.copied().collect()
}

/// Profiles with a chroma format and scaling lists.
const HIGH_PROFILES: &[u64] = &[100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// `None` when the bits end before the colours.
fn read_colour(bits: &mut Bits<'_>) -> Option<Colour> {
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.exp_golomb()?;
    if HIGH_PROFILES.contains(&profile) {
        if bits.exp_golomb()? == 3 {
            bits.take(1)?;
        }
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            skip_scaling_lists(bits)?;
        }
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.take(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            for _ in 0..bits.exp_golomb()?.min(255) {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    bits.exp_golomb()?;
    bits.take(1)?;
    bits.exp_golomb()?;
    bits.exp_golomb()?;
    let frames_only = bits.take(1)? == 1;
    bits.take(if frames_only { 1 } else { 2 })?;
    if bits.take(1)? == 1 {
        for _ in 0..4 {
            bits.exp_golomb()?;
        }
    }
    let has_usability_information = bits.take(1)? == 1;
    if !has_usability_information {
        return None;
    }
    const EXTENDED_ASPECT_RATIO: u64 = 255;
    if bits.take(1)? == 1 && bits.take(8)? == EXTENDED_ASPECT_RATIO {
        bits.take(32)?;
    }
    if bits.take(1)? == 1 {
        bits.take(1)?;
    }
    let mut colour = Colour::default();
    if bits.take(1)? == 1 {
        bits.take(3)?;
        colour.full_range = bits.take(1)? == 1;
        if bits.take(1)? == 1 {
            bits.take(16)?;
            colour.matrix = match bits.take(8)? {
                1 => Matrix::Bt709,
                9 => Matrix::Bt2020,
                _ => Matrix::Bt601,
            };
        }
    }
    Some(colour)
}

/// The lists of 4:2:0: six of 16 factors, two of 64.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for list in 0..8 {
        if bits.take(1)? == 0 {
            continue;
        }
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                let code = bits.exp_golomb()? as i64;
                let delta = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits, at most 64.
    fn take(&mut self, count: usize) -> Option<u64> {
        (0..count).try_fold(0, |value, _| {
            let bit = *self.bytes.get(self.at / 8)? >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u64::from(bit))
        })
    }

    /// An unsigned Exp-Golomb code.
    fn exp_golomb(&mut self) -> Option<u64> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 32 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_bit_by_bit() {
        let mut bits = Bits { bytes: &[0b1010_0110, 0b0100_0010], at: 0 };
        let codes: Vec<_> = (0..4).map(|_| bits.exp_golomb()).collect();
        assert_eq!(codes, [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(bits.take(9), None);
    }

    #[test]
    fn three_keeps_start_codes_out_and_is_dropped_only_there() {
        assert_eq!(without_emulation_prevention(&[0, 0, 3, 1, 3, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 3, 0, 0, 0, 0]);
    }

    /// What x264 writes for `-x264-params colormatrix=bt709:range=...`: a 64x64 stream of the High profile.
    fn with_colour(full: u64, matrix: u64) -> Vec<u8> {
        let mut bits = String::new();
        let mut put = |value: u64, count: usize| bits.push_str(&format!("{value:0count$b}"));
        put(100, 8);
        put(0x000a, 16);
        // Identifier, 4:2:0, two depths; no bypass, no scaling lists; frame number; order type 2; one reference.
        for (value, count) in [(1, 1), (0b010, 3), (1, 1), (1, 1), (0, 1), (0, 1), (1, 1), (0b011, 3), (0b010, 3)] {
            put(value, count);
        }
        // No gaps; four macroblocks wide and high; frames only; direct 8x8; no crop; usability information follows.
        for (value, count) in [(0, 1), (0b00100, 5), (0b00100, 5), (1, 1), (1, 1), (0, 1), (1, 1)] {
            put(value, count);
        }
        // No aspect ratio, no overscan; a signal type of format 5 with primaries, transfer, matrix.
        for (value, count) in [(0, 1), (0, 1), (1, 1), (5, 3), (full, 1), (1, 1), (1, 8), (1, 8), (matrix, 8), (0, 8)] {
            put(value, count);
        }
        let bytes = bits.as_bytes().chunks(8).map(|byte| {
            let text = std::str::from_utf8(byte).unwrap();
            u8::from_str_radix(&format!("{text:0<8}"), 2).unwrap()
        });
        std::iter::once(0x67).chain(bytes).collect()
    }

    #[test]
    fn matrix_and_range_are_found() {
        assert_eq!(colour(&with_colour(0, 1)), Colour { matrix: Matrix::Bt709, full_range: false });
        assert_eq!(colour(&with_colour(1, 6)), Colour { matrix: Matrix::Bt601, full_range: true });
        for cut in 0..6 {
            assert_eq!(colour(&with_colour(1, 1)[..cut]), Colour::default());
        }
    }
}
