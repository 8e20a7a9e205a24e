//! Entropy-coded data to coefficients.

use super::Refusal;
use super::huffman::{Bits, Table};
use super::markers::{Component, Frame, Scan, Tables, ZIGZAG};

type Block = [i16; 64];

/// State that lives through a restart interval.
#[derive(Default)]
struct Predictors {
    /// DC of each part of the scan.
    dc: [i32; 4],
    /// Blocks still to come without new coefficients.
    end_of_band: u32,
}

/// Decodes the data of a scan into the coefficients of `frame`; returns the bytes used.
pub(super) fn decode(frame: &mut Frame, scan: &Scan, tables: &Tables, data: &[u8]) -> Result<usize, Refusal> {
    let mut bits = Bits::new(data);
    let mut predictors = Predictors::default();
    let coder = Coder::new(frame.progressive, scan);
    let whole_units = [frame.width.div_ceil(8 * frame.h_max), frame.height.div_ceil(8 * frame.v_max)];
    let units = match scan.parts[..] {
        [(index, ..)] => frame.components[index].blocks(),
        _ => whole_units,
    };
    let interleaved = scan.parts.len() > 1;
    let mut since_restart = 0;
    let mut restarts = 0u8;
    for row in 0..units[1] {
        for column in 0..units[0] {
            if tables.restart_interval > 0 && since_restart == tables.restart_interval {
                bits.restart(restarts % 8)?;
                restarts = restarts.wrapping_add(1);
                predictors = Predictors::default();
                since_restart = 0;
            }
            since_restart += 1;
            for (part, &(index, dc, ac)) in scan.parts.iter().enumerate() {
                let component = &mut frame.components[index];
                let tables = (tables.dc[dc].as_ref(), tables.ac[ac].as_ref());
                let [across, down] = if interleaved { [component.h, component.v] } else { [1, 1] };
                for y in 0..down {
                    for x in 0..across {
                        let block = block_mut(component, column * across + x, row * down + y);
                        coder.block(&mut bits, tables, &mut predictors, part, block)?;
                    }
                }
            }
            if bits.overran() {
                return Err(Refusal::Damaged);
            }
        }
    }
    bits.end()
}

fn block_mut(component: &mut Component, column: usize, row: usize) -> &mut Block {
    let at = (row * component.padded_columns + column) * 64;
    component.coefficients[at..].first_chunk_mut().expect("every block of a unit is stored")
}

/// What one block of a scan holds.
enum Coder {
    Sequential,
    DcFirst { low: u8 },
    DcRefine { low: u8 },
    AcFirst { spectrum: [usize; 2], low: u8 },
    AcRefine { spectrum: [usize; 2], low: u8 },
}

impl Coder {
    fn new(progressive: bool, scan: &Scan) -> Self {
        let (spectrum, low) = (scan.spectrum, scan.low);
        match (progressive, spectrum[0], scan.high) {
            (false, ..) => Self::Sequential,
            (true, 0, 0) => Self::DcFirst { low },
            (true, 0, _) => Self::DcRefine { low },
            (true, _, 0) => Self::AcFirst { spectrum, low },
            (true, ..) => Self::AcRefine { spectrum, low },
        }
    }

    fn block(
        &self,
        bits: &mut Bits<'_>,
        (dc, ac): (Option<&Table>, Option<&Table>),
        predictors: &mut Predictors,
        part: usize,
        block: &mut Block,
    ) -> Result<(), Refusal> {
        let dc = || dc.ok_or(Refusal::Damaged);
        let ac = || ac.ok_or(Refusal::Damaged);
        let end_of_band = &mut predictors.end_of_band;
        match *self {
            Self::Sequential => {
                block[0] = next_dc(bits, dc()?, &mut predictors.dc[part])? as i16;
                sequential_ac(bits, ac()?, block)
            }
            Self::DcFirst { low } => {
                block[0] = (next_dc(bits, dc()?, &mut predictors.dc[part])? << low) as i16;
                Ok(())
            }
            Self::DcRefine { low } => {
                if bits.bit() {
                    block[0] |= 1 << low;
                }
                Ok(())
            }
            Self::AcFirst { spectrum, low } => first_ac(bits, ac()?, end_of_band, spectrum, low, block),
            Self::AcRefine { spectrum, low } => refine_ac(bits, ac()?, end_of_band, spectrum, low, block),
        }
    }
}

fn next_dc(bits: &mut Bits<'_>, table: &Table, predictor: &mut i32) -> Result<i32, Refusal> {
    let size = bits.symbol(table)?;
    if size > 15 {
        return Err(Refusal::Damaged);
    }
    *predictor = predictor.wrapping_add(bits.signed(u32::from(size)));
    Ok(*predictor)
}

/// Place in the block of coefficient `k` in file order.
fn place(k: usize) -> Result<usize, Refusal> {
    ZIGZAG.get(k).map(|at| usize::from(*at)).ok_or(Refusal::Damaged)
}

fn sequential_ac(bits: &mut Bits<'_>, table: &Table, block: &mut Block) -> Result<(), Refusal> {
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            k += 16;
        } else {
            k += zeros;
            block[place(k)?] = bits.signed(size) as i16;
            k += 1;
        }
    }
    Ok(())
}

/// Blocks of a run that ends all bands, this one included: `2^log + log more bits`.
fn run_length(bits: &mut Bits<'_>, log: u32) -> u32 {
    let extra = if log > 0 { bits.take(log) as u32 } else { 0 };
    (1 << log) + extra
}

fn first_ac(
    bits: &mut Bits<'_>,
    table: &Table,
    end_of_band: &mut u32,
    [start, end]: [usize; 2],
    low: u8,
    block: &mut Block,
) -> Result<(), Refusal> {
    if *end_of_band > 0 {
        *end_of_band -= 1;
        return Ok(());
    }
    let mut k = start;
    while k <= end {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                *end_of_band = run_length(bits, zeros as u32) - 1;
                break;
            }
            k += 16;
        } else {
            k += zeros;
            block[place(k)?] = (bits.signed(size) << low) as i16;
            k += 1;
        }
    }
    Ok(())
}

fn refine_ac(
    bits: &mut Bits<'_>,
    table: &Table,
    end_of_band: &mut u32,
    [start, end]: [usize; 2],
    low: u8,
    block: &mut Block,
) -> Result<(), Refusal> {
    let unit = 1i16 << low;
    let mut k = start;
    while *end_of_band == 0 && k <= end {
        let symbol = bits.symbol(table)?;
        let (mut zeros, size) = (usize::from(symbol >> 4), symbol & 15);
        let new = match size {
            0 if zeros < 15 => {
                *end_of_band = run_length(bits, zeros as u32);
                break;
            }
            0 => 0,
            1 if bits.bit() => unit,
            1 => -unit,
            _ => return Err(Refusal::Damaged),
        };
        while k <= end {
            let coefficient = &mut block[place(k)?];
            if *coefficient != 0 {
                correct(bits, coefficient, unit);
            } else if zeros == 0 {
                *coefficient = new;
                k += 1;
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
    }
    if *end_of_band > 0 {
        for k in k..=end {
            let coefficient = &mut block[place(k)?];
            if *coefficient != 0 {
                correct(bits, coefficient, unit);
            }
        }
        *end_of_band -= 1;
    }
    Ok(())
}

/// One more bit of a coefficient that is not zero.
fn correct(bits: &mut Bits<'_>, coefficient: &mut i16, unit: i16) {
    if bits.bit() && *coefficient & unit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { unit } else { -unit });
    }
}
