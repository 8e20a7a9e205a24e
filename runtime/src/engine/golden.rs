//! Golden values: what every layer of a program must compute from one known input.
//!
//! The compiler runs the model in its reference interpreter and bakes the answers, with the input when the model came
//! with one; an engine compares its own layers with them. What is exact on every machine is compared by a hash of all
//! its bits; what is rounded in the order of the machine's vectors is compared by weighted means of its parts, within a
//! bound.

use super::run::Engine;
use super::{DType, Infer, RunError, TensorMut, TensorRef, TensorSpec};
use alloc::vec;
use alloc::vec::Vec;

/// Parts of a tensor whose means are kept, at most.
const PARTS: usize = 256;

/// First bytes of encoded values, and of those that carry their inputs.
const MAGIC: [u8; 4] = *b"PGV1";
const MAGIC_ON: [u8; 4] = *b"PGV2";

/// Forms of an input: levels, levels divided by 255, numbers.
const LEVELS: u8 = 0;
const FRACTIONS: u8 = 1;
const NUMBERS: u8 = 2;

/// Elements of a tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

/// What is known about the output of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Golden {
    /// Nothing.
    Unknown,
    /// A hash of all its bits.
    Exact(u64),
    /// Weighted means of its parts.
    Close {
        /// Largest difference of a mean, in units of the elements.
        bound: f32,
        /// The means.
        means: Vec<f32>,
    },
}

impl Values {
    /// The golden input for a model input: a pattern of slow waves with noise on it, as levels 0 to 255 or those
    /// divided by 255.
    pub fn input(dtype: DType, len: usize) -> Self {
        let mut state = 0x2545_f491u32;
        let mut levels = (0..len).map(move |i| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let wave = (i / 3) as u32 & 0x1ff;
            let level = if wave < 256 { wave } else { 511 - wave };
            ((level * 7 + (state >> 24)) / 8) as u8
        });
        match dtype {
            DType::F32 => Self::F32(levels.by_ref().map(|level| f32::from(level) / 255.0).collect()),
            DType::U8 => Self::U8(levels.collect()),
        }
    }

    /// As many zeros.
    fn zeros(spec: &TensorSpec) -> Self {
        match spec.dtype {
            DType::F32 => Self::F32(vec![0.0; spec.len()]),
            DType::U8 => Self::U8(vec![0; spec.len()]),
        }
    }

    /// Appends the shortest form that gives back the same bits.
    fn append(&self, bytes: &mut Vec<u8>) {
        let (form, data) = match self {
            Self::U8(levels) => (LEVELS, levels.clone()),
            Self::F32(numbers) => {
                let level = |v: &f32| {
                    let level = (v * 255.0 + 0.5) as u8;
                    (fraction(level).to_bits() == v.to_bits()).then_some(level)
                };
                match numbers.iter().map(level).collect() {
                    Some(levels) => (FRACTIONS, levels),
                    None => (NUMBERS, numbers.iter().flat_map(|v| v.to_le_bytes()).collect()),
                }
            }
        };
        bytes.push(form);
        bytes.extend((self.len() as u64).to_le_bytes());
        bytes.extend(data);
    }

    fn fits(&self, spec: &TensorSpec) -> bool {
        let dtype = if matches!(self, Self::U8(_)) { DType::U8 } else { DType::F32 };
        dtype == spec.dtype && self.len() == spec.len()
    }

    fn tensor(&self) -> TensorRef<'_> {
        match self {
            Self::F32(values) => TensorRef::F32(values),
            Self::U8(values) => TensorRef::U8(values),
        }
    }

    fn tensor_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(values) => TensorMut::F32(values),
            Self::U8(values) => TensorMut::U8(values),
        }
    }

    /// A hash of all bits.
    fn hash(&self) -> u64 {
        let mix = |hash: u64, bits: u64| (hash ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let seed = 0xcbf2_9ce4_8422_2325;
        match self {
            Self::F32(values) => values.iter().fold(seed, |hash, v| mix(hash, u64::from(v.to_bits()))),
            Self::U8(values) => values.iter().fold(seed, |hash, v| mix(hash, u64::from(*v))),
        }
    }

    /// Weighted means of up to [`PARTS`] runs of elements; the weights differ, so that elements cannot trade places.
    fn means(&self) -> Vec<f32> {
        let mean = |start: usize, part: &mut dyn Iterator<Item = f64>| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (i, value) in part.enumerate() {
                let weight = 1.0 + ((start + i) % 16) as f64 / 16.0;
                sum += weight * value;
                weights += weight;
            }
            (sum / weights) as f32
        };
        let part = self.len().div_ceil(PARTS).max(1);
        match self {
            Self::F32(values) => (values.chunks(part).enumerate())
                .map(|(i, chunk)| mean(i * part, &mut chunk.iter().map(|v| f64::from(*v))))
                .collect(),
            Self::U8(values) => (values.chunks(part).enumerate())
                .map(|(i, chunk)| mean(i * part, &mut chunk.iter().map(|v| f64::from(*v))))
                .collect(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// The largest magnitude; 255 for levels.
    fn scale(&self) -> f32 {
        match self {
            Self::F32(values) => values.iter().fold(0.0, |scale, v| scale.max(v.abs())),
            Self::U8(_) => 255.0,
        }
    }
}

impl Golden {
    /// What only the very same bits agree with.
    pub fn exact(values: &Values) -> Self {
        Self::Exact(values.hash())
    }

    /// What agrees with means that differ by no more than `bound` of the largest magnitude.
    pub fn close(values: &Values, bound: f32) -> Self {
        Self::Close { bound: bound * values.scale().max(1e-6), means: values.means() }
    }

    /// Whether values are as they must be.
    pub fn agrees(&self, values: &Values) -> bool {
        match self {
            Self::Unknown => true,
            Self::Exact(hash) => values.hash() == *hash,
            Self::Close { bound, means } => {
                let got = values.means();
                // A NaN is close to nothing.
                got.len() == means.len() && got.iter().zip(means).all(|(g, m)| (g - m).abs() <= *bound)
            }
        }
    }

    /// Golden values for [`Values::input`] as bytes.
    pub fn encode(all: &[Golden]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        Golden::append(&mut bytes, all);
        bytes
    }

    /// Golden values for these inputs as bytes.
    pub fn encode_on(inputs: &[Values], all: &[Golden]) -> Vec<u8> {
        let mut bytes = MAGIC_ON.to_vec();
        bytes.push(inputs.len() as u8);
        inputs.iter().for_each(|input| input.append(&mut bytes));
        Golden::append(&mut bytes, all);
        bytes
    }

    fn append(bytes: &mut Vec<u8>, all: &[Golden]) {
        for golden in all {
            match golden {
                Self::Unknown => bytes.push(0),
                Self::Exact(hash) => {
                    bytes.push(1);
                    bytes.extend(hash.to_le_bytes());
                }
                Self::Close { bound, means } => {
                    bytes.push(2);
                    bytes.extend((means.len() as u16).to_le_bytes());
                    [*bound].iter().chain(means).for_each(|v| bytes.extend(v.to_le_bytes()));
                }
            }
        }
    }

    /// The inputs that encoded golden values are for; `None` when that is [`Values::input`], or when they are damaged.
    pub fn inputs(bytes: &[u8]) -> Option<Vec<Values>> {
        Some(inputs(&mut bytes.strip_prefix(&MAGIC_ON)?)?.collect())
    }

    /// Golden values from bytes; `None` when they are not such.
    pub fn decode(bytes: &[u8]) -> Option<Vec<Golden>> {
        let mut rest = match bytes.strip_prefix(&MAGIC) {
            Some(rest) => rest,
            None => {
                let mut rest = bytes.strip_prefix(&MAGIC_ON)?;
                let _unread = inputs(&mut rest)?;
                rest
            }
        };
        let mut all = Vec::new();
        while let Some((tag, tail)) = rest.split_first() {
            rest = tail;
            all.push(match tag {
                0 => Self::Unknown,
                1 => Self::Exact(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
                2 => {
                    let count = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
                    let numbers = take(&mut rest, 4 * (usize::from(count) + 1))?;
                    let (numbers, _) = numbers.as_chunks::<4>();
                    let mut numbers = numbers.iter().map(|b| f32::from_le_bytes(*b));
                    let bound = numbers.next()?;
                    Self::Close { bound, means: numbers.collect() }
                }
                _ => return None,
            });
        }
        Some(all)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

/// Reads encoded inputs, which are made when they are looked at.
fn inputs<'a>(rest: &mut &'a [u8]) -> Option<impl Iterator<Item = Values> + use<'a>> {
    let count = take(rest, 1)?[0];
    let mut encoded = Vec::new();
    for _ in 0..count {
        let form = take(rest, 1)?[0];
        let len = usize::try_from(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)).ok()?;
        let size = if form == NUMBERS { 4 } else { 1 };
        encoded.push((form, take(rest, len.checked_mul(size)?)?));
        (form <= NUMBERS).then_some(())?;
    }
    Some(encoded.into_iter().map(|(form, data)| match form {
        LEVELS => Values::U8(data.to_vec()),
        FRACTIONS => Values::F32(data.iter().map(|level| fraction(*level)).collect()),
        _ => Values::F32(data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
    }))
}

/// A level as a float network takes it.
fn fraction(level: u8) -> f32 {
    f32::from(level) / 255.0
}

/// What a comparison with golden values found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The first layer, in the order of the program, that computes something else.
    pub first_difference: Option<usize>,
    /// Layers that do.
    pub differences: usize,
    /// Layers compared bit for bit.
    pub exact: usize,
    /// Layers compared within a bound.
    pub close: usize,
    /// Whether all threads together give the outputs that one thread gives layer by layer, bit for bit.
    pub threads_agree: bool,
}

/// Runs the golden input, that of the program when it has one, on one thread and then on all, and compares every layer.
///
/// # Errors
/// When a model input is not what the engine takes.
pub fn check(engine: &mut Engine, golden: &[Golden]) -> Result<Verdict, RunError> {
    let spec = engine.spec();
    let own = Golden::inputs(engine.program().golden);
    let fits = |inputs: &Vec<Values>| {
        inputs.len() == spec.inputs.len() && inputs.iter().zip(spec.inputs).all(|(values, spec)| values.fits(spec))
    };
    let known = || spec.inputs.iter().map(|input| Values::input(input.dtype, input.len())).collect();
    let inputs: Vec<Values> = own.filter(fits).unwrap_or_else(known);
    let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Values::tensor).collect();
    let mut alone: Vec<Values> = spec.outputs.iter().map(Values::zeros).collect();
    let mut together = alone.clone();
    let mut verdict = Verdict { first_difference: None, differences: 0, exact: 0, close: 0, threads_agree: true };
    let mut outputs: Vec<TensorMut<'_>> = alone.iter_mut().map(Values::tensor_mut).collect();
    engine.run_observed(&inputs, &mut outputs, &mut |layer, values| {
        let Some(golden) = golden.get(layer) else { return };
        match golden {
            Golden::Unknown => {}
            Golden::Exact(_) => verdict.exact += 1,
            Golden::Close { .. } => verdict.close += 1,
        }
        if !golden.agrees(values) {
            verdict.differences += 1;
            verdict.first_difference = Some(verdict.first_difference.map_or(layer, |first| first.min(layer)));
        }
    })?;
    let mut outputs: Vec<TensorMut<'_>> = together.iter_mut().map(Values::tensor_mut).collect();
    engine.run(&inputs, &mut outputs)?;
    verdict.threads_agree = alone.iter().zip(&together).all(|(a, b)| a.hash() == b.hash());
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_give_back_what_they_were_made_of() {
        let all = [
            Golden::Exact(0x0123_4567_89ab_cdef),
            Golden::Unknown,
            Golden::Close { bound: 0.5, means: vec![1.0, -2.5] },
            Golden::Close { bound: 0.0, means: vec![] },
        ];
        let bytes = Golden::encode(&all);
        assert_eq!(Golden::decode(&bytes).unwrap(), all);
        assert!(Golden::decode(b"").is_none() && Golden::decode(b"PGV1\x07").is_none());
        assert!(Golden::decode(&bytes[..8]).is_none() && Golden::inputs(&bytes).is_none());
    }

    #[test]
    fn inputs_come_back_bit_for_bit_in_their_shortest_form() {
        let all = [Golden::Exact(7)];
        let levels: Vec<u8> = (0..=255).collect();
        let fractions: Vec<f32> = levels.iter().map(|level| f32::from(*level) / 255.0).collect();
        let mut numbers = fractions.clone();
        numbers[3] += 1e-6;
        numbers[4] = -0.0;
        for (inputs, size) in [
            (vec![], 0),
            (vec![Values::U8(levels)], 9 + 256),
            (vec![Values::F32(fractions)], 9 + 256),
            (vec![Values::F32(numbers), Values::U8(vec![1])], 9 + 1024 + 9 + 1),
        ] {
            let bytes = Golden::encode_on(&inputs, &all);
            assert_eq!(bytes.len(), 5 + size + 9);
            assert_eq!(Golden::inputs(&bytes).unwrap(), inputs);
            assert_eq!(Golden::decode(&bytes).unwrap(), all);
            for end in 0..bytes.len() - 9 {
                assert!(Golden::decode(&bytes[..end]).is_none_or(|all| all.is_empty()), "{end}");
            }
        }
        assert!(Golden::inputs(b"PGV2\x01\x09\0\0\0\0\0\0\0\0").is_none());
        assert!(Golden::inputs(b"PGV2\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff").is_none());
    }

    #[test]
    fn one_bit_or_two_places_make_a_difference() {
        let levels: Vec<u8> = (0..1000).map(|i| (i * 7 % 251) as u8).collect();
        let exact = Golden::exact(&Values::U8(levels.clone()));
        assert!(exact.agrees(&Values::U8(levels.clone())));
        let mut other = levels.clone();
        other[999] ^= 1;
        assert!(!exact.agrees(&Values::U8(other)));
        let floats: Vec<f32> = levels.iter().map(|v| f32::from(*v)).collect();
        let close = Golden::close(&Values::F32(floats.clone()), 1e-5);
        assert!(close.agrees(&Values::F32(floats.iter().map(|v| v * 1.000_001).collect())));
        let mut swapped = floats.clone();
        swapped.swap(0, 1);
        assert!(!close.agrees(&Values::F32(swapped)));
        let mut broken = floats;
        broken[5] = f32::NAN;
        assert!(!close.agrees(&Values::F32(broken)));
    }
}
