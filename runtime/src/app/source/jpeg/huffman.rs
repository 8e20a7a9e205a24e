//! Huffman codes and the bits they are read from.

use super::Refusal;

/// Codes up to this length are found by one look-up.
const LOOKUP_BITS: u32 = 9;

/// A Huffman table, ready for decoding.
pub(super) struct Table {
    /// By the next [`LOOKUP_BITS`] bits: length of the code, 0 when it is longer, and its symbol.
    lookup: Vec<(u8, u8)>,
    /// Per length: one more than the greatest code, aligned to 16 bits.
    limits: [u32; 17],
    /// Per length: what to add to a code for the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// `counts` are the numbers of codes of 1 to 16 bits, `symbols` their symbols in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Refusal> {
        let mut table = Self {
            lookup: vec![(0, 0); 1 << LOOKUP_BITS],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.offsets[length as usize] = index as i32 - code as i32;
            if code + count > 1 << length {
                return Err(Refusal::Damaged);
            }
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let first = (code << (LOOKUP_BITS - length)) as usize;
                    table.lookup[first..first + (1 << (LOOKUP_BITS - length))].fill((length as u8, symbols[index]));
                }
                code += 1;
                index += 1;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }
}

/// Bits of entropy-coded data. Past the end, or at a marker, it gives zeros and remembers that it did.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the top.
    window: u64,
    /// Bits in the window.
    count: u32,
    /// Bits in the window that are not in the data.
    phantom: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, count: 0, phantom: 0 }
    }

    /// At least 32 bits are in the window afterwards.
    #[inline]
    fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if self.phantom == 0
            && let Some(next) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<4>())
            && !next.contains(&0xff)
        {
            self.window |= u64::from(u32::from_be_bytes(*next)) << (32 - self.count);
            self.count += 32;
            self.at += 4;
            return;
        }
        while self.count <= 56 {
            let byte = match self.data.get(self.at..) {
                Some([0xff, 0x00, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([byte, ..]) if *byte != 0xff => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.phantom += 8;
                    0
                }
            };
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn consume(&mut self, bits: u32) {
        self.window <<= bits;
        self.count -= bits;
    }

    /// The next `bits` bits, 1 to 16.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> i32 {
        self.refill();
        let value = (self.window >> (64 - bits)) as i32;
        self.consume(bits);
        value
    }

    /// The next bit.
    #[inline]
    pub(super) fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    /// A signed number of `size` bits, 0 to 15, as JPEG codes coefficients.
    #[inline]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = self.take(size);
        if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    /// The next symbol.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Refusal> {
        self.refill();
        let (length, symbol) = table.lookup[(self.window >> (64 - LOOKUP_BITS)) as usize];
        if length > 0 {
            self.consume(u32::from(length));
            return Ok(symbol);
        }
        let next = (self.window >> 48) as u32;
        for length in LOOKUP_BITS + 1..=16 {
            if next < table.limits[length as usize] {
                self.consume(length);
                let index = (next >> (16 - length)) as i32 + table.offsets[length as usize];
                return table.symbols.get(index as usize).copied().ok_or(Refusal::Damaged);
            }
        }
        Err(Refusal::Damaged)
    }

    /// Whether bits were used that the data does not have.
    pub(super) fn overran(&self) -> bool {
        self.count < self.phantom
    }

    /// Drops the rest of the byte, and reads the restart marker of number `number`.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Refusal> {
        let at = self.end()?;
        if self.data.get(at..at + 2) != Some(&[0xff, 0xd0 | number]) {
            return Err(Refusal::Damaged);
        }
        *self = Self { at: at + 2, ..Self::new(self.data) };
        Ok(())
    }

    /// Bytes of data used, the rest of a started byte included; a marker must follow, or fill bytes before one.
    pub(super) fn end(&self) -> Result<usize, Refusal> {
        if self.overran() || self.count - self.phantom >= 8 {
            return Err(Refusal::Damaged);
        }
        let fill = self.data[self.at..].windows(2).take_while(|w| *w == [0xff, 0xff]).count();
        Ok(self.at + fill)
    }
}
