//! The segments of a JPEG file.

use super::Refusal;
use super::huffman::Table;

/// Index in a block, row by row, of the coefficient that comes `i`th in the file.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// One colour channel.
pub(super) struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    pub h: usize,
    pub v: usize,
    quant_index: usize,
    /// The quantisation table at the component's first scan, row by row.
    pub quant: Option<[u16; 64]>,
    /// Samples that carry the picture.
    pub width: usize,
    pub height: usize,
    /// Blocks that whole minimum coded units fill.
    pub padded_columns: usize,
    pub padded_rows: usize,
    /// Coefficients of all blocks, each block row by row.
    pub coefficients: Vec<i16>,
}

impl Component {
    /// Blocks that carry the picture, across and down.
    pub(super) fn blocks(&self) -> [usize; 2] {
        [self.width.div_ceil(8), self.height.div_ceil(8)]
    }
}

/// How the channels make colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorSpace {
    Grey,
    YCbCr,
    Rgb,
}

/// A picture with the coefficients read so far.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub progressive: bool,
    /// Greatest sampling factors.
    pub h_max: usize,
    pub v_max: usize,
    pub components: Vec<Component>,
    pub color: ColorSpace,
}

/// Huffman tables in force.
#[derive(Default)]
pub(super) struct Tables {
    pub dc: [Option<Table>; 4],
    pub ac: [Option<Table>; 4],
    pub restart_interval: usize,
}

/// The header of a scan.
pub(super) struct Scan {
    /// Component, DC table, AC table.
    pub parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient, in file order.
    pub spectrum: [usize; 2],
    /// Bit positions of successive approximation: before and after this scan.
    pub high: u8,
    pub low: u8,
}

/// Walks through the segments.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    quants: [Option<[u16; 64]>; 4],
    tables: Tables,
    frame: Option<Frame>,
    jfif: bool,
    adobe_transform: Option<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err(Refusal::Damaged);
        }
        Ok(Self {
            bytes,
            at: 2,
            quants: [None; 4],
            tables: Tables::default(),
            frame: None,
            jfif: false,
            adobe_transform: None,
        })
    }

    /// The header of the next scan; `None` at the end of the picture.
    pub(super) fn next_scan(&mut self) -> Result<Option<Scan>, Refusal> {
        loop {
            // Some cameras leave out the end marker.
            let whole_without_end = self.frame.as_ref().is_some_and(|frame| !frame.progressive);
            if self.at >= self.bytes.len() && whole_without_end {
                return Ok(None);
            }
            let marker = self.marker()?;
            match marker {
                0xd9 => return Ok(None),
                0x01 | 0xd0..=0xd7 => continue,
                _ => {}
            }
            let segment = self.segment()?;
            match marker {
                0xc0..=0xc2 => self.frame_header(segment, marker == 0xc2)?,
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Err(Refusal::Unsupported),
                0xc4 => self.huffman_tables(segment)?,
                0xdb => self.quantisation_tables(segment)?,
                0xdd => {
                    let interval = segment.get(..2).ok_or(Refusal::Damaged)?;
                    self.tables.restart_interval = usize::from(u16::from_be_bytes([interval[0], interval[1]]));
                }
                0xda => return self.scan_header(segment).map(Some),
                0xe0 => self.jfif |= segment.starts_with(b"JFIF\0"),
                0xee if segment.starts_with(b"Adobe") => {
                    self.adobe_transform = Some(*segment.get(11).ok_or(Refusal::Damaged)?);
                }
                _ => {}
            }
        }
    }

    /// What decoding `scan` needs: the frame, the tables, and the bytes that follow the header.
    pub(super) fn frame_and_data(&mut self, scan: &Scan) -> Result<(&mut Frame, &Tables, &'a [u8]), Refusal> {
        let frame = self.frame.as_mut().ok_or(Refusal::Damaged)?;
        for (index, _, _) in &scan.parts {
            let component = &mut frame.components[*index];
            if component.quant.is_none() {
                component.quant = Some(self.quants[component.quant_index].ok_or(Refusal::Damaged)?);
            }
        }
        Ok((frame, &self.tables, &self.bytes[self.at..]))
    }

    /// Moves past the data of a scan.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The picture, when every component had a scan.
    pub(super) fn finish(self) -> Result<Frame, Refusal> {
        let mut frame = self.frame.ok_or(Refusal::Damaged)?;
        if frame.components.iter().any(|c| c.quant.is_none()) {
            return Err(Refusal::Damaged);
        }
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        frame.color = match (ids.len(), self.jfif, self.adobe_transform) {
            (1, ..) => ColorSpace::Grey,
            (_, true, _) | (_, _, Some(1)) => ColorSpace::YCbCr,
            (_, _, Some(0)) => ColorSpace::Rgb,
            (_, _, Some(_)) => ColorSpace::YCbCr,
            _ if ids == *b"RGB" => ColorSpace::Rgb,
            _ => ColorSpace::YCbCr,
        };
        Ok(frame)
    }

    fn marker(&mut self) -> Result<u8, Refusal> {
        if self.bytes.get(self.at) != Some(&0xff) {
            return Err(Refusal::Damaged);
        }
        while self.bytes.get(self.at) == Some(&0xff) {
            self.at += 1;
        }
        let marker = *self.bytes.get(self.at).ok_or(Refusal::Damaged)?;
        self.at += 1;
        Ok(marker)
    }

    fn segment(&mut self) -> Result<&'a [u8], Refusal> {
        let rest = &self.bytes[self.at..];
        let length = rest.get(..2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]]))).ok_or(Refusal::Damaged)?;
        let segment = rest.get(2..length).ok_or(Refusal::Damaged)?;
        self.at += length;
        Ok(segment)
    }

    fn frame_header(&mut self, segment: &[u8], progressive: bool) -> Result<(), Refusal> {
        let (&[precision, h0, h1, w0, w1, count], rest) = segment.split_first_chunk().ok_or(Refusal::Damaged)?;
        let (width, height) = (usize::from(u16::from_be_bytes([w0, w1])), usize::from(u16::from_be_bytes([h0, h1])));
        if precision != 8 || !(count == 1 || count == 3) || width == 0 || height == 0 || self.frame.is_some() {
            return Err(Refusal::Unsupported);
        }
        let fields = rest.get(..3 * usize::from(count)).ok_or(Refusal::Damaged)?;
        let factors: Vec<[usize; 2]> =
            fields.chunks_exact(3).map(|f| [usize::from(f[1] >> 4), usize::from(f[1] & 15)]).collect();
        if factors.as_flattened().iter().any(|f| !(1..=4).contains(f)) || fields.chunks_exact(3).any(|f| f[2] > 3) {
            return Err(Refusal::Damaged);
        }
        let [h_max, v_max] = [0, 1].map(|axis| factors.iter().map(|f| f[axis]).max().unwrap_or(1));
        if factors.iter().any(|[h, v]| h_max % h != 0 || v_max % v != 0) {
            return Err(Refusal::Unsupported);
        }
        let units = [width.div_ceil(8 * h_max), height.div_ceil(8 * v_max)];
        let components = fields.chunks_exact(3).zip(&factors).map(|(field, [h, v])| Component {
            id: field[0],
            h: *h,
            v: *v,
            quant_index: usize::from(field[2]),
            quant: None,
            width: (width * h).div_ceil(h_max),
            height: (height * v).div_ceil(v_max),
            padded_columns: units[0] * h,
            padded_rows: units[1] * v,
            coefficients: vec![0; units[0] * h * units[1] * v * 64],
        });
        let components = components.collect();
        self.frame = Some(Frame { width, height, progressive, h_max, v_max, components, color: ColorSpace::Grey });
        Ok(())
    }

    fn scan_header(&mut self, segment: &[u8]) -> Result<Scan, Refusal> {
        let frame = self.frame.as_ref().ok_or(Refusal::Damaged)?;
        let (&count, rest) = segment.split_first().ok_or(Refusal::Damaged)?;
        let (fields, tail) = rest.split_at_checked(2 * usize::from(count)).ok_or(Refusal::Damaged)?;
        let &[start, end, approximation] = tail.first_chunk().ok_or(Refusal::Damaged)?;
        let mut parts = Vec::new();
        for field in fields.chunks_exact(2) {
            let index = frame.components.iter().position(|c| c.id == field[0]).ok_or(Refusal::Damaged)?;
            let (dc, ac) = (usize::from(field[1] >> 4), usize::from(field[1] & 15));
            if dc > 3 || ac > 3 || parts.iter().any(|(i, _, _)| *i == index) {
                return Err(Refusal::Damaged);
            }
            parts.push((index, dc, ac));
        }
        let (high, low) = (approximation >> 4, approximation & 15);
        let (start, end) = (usize::from(start), usize::from(end));
        let valid = if frame.progressive {
            let dc_or_one_component = if start == 0 { end == 0 } else { parts.len() == 1 };
            start <= end && end < 64 && dc_or_one_component && low <= 13 && (high == 0 || high == low + 1)
        } else {
            (start, end, high, low) == (0, 63, 0, 0)
        };
        if parts.is_empty() || !valid {
            return Err(Refusal::Damaged);
        }
        Ok(Scan { parts, spectrum: [start, end], high, low })
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), Refusal> {
        while let Some((&[class], rest)) = segment.split_first_chunk() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Refusal::Damaged)?;
            let total = counts.iter().map(|c| usize::from(*c)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(Refusal::Damaged)?;
            let tables = if class >> 4 == 0 { &mut self.tables.dc } else { &mut self.tables.ac };
            let slot = tables.get_mut(usize::from(class & 15)).ok_or(Refusal::Damaged)?;
            *slot = Some(Table::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    fn quantisation_tables(&mut self, mut segment: &[u8]) -> Result<(), Refusal> {
        while let Some((&[head], rest)) = segment.split_first_chunk() {
            let size = if head >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * size).ok_or(Refusal::Damaged)?;
            let mut table = [0; 64];
            for (value, at) in values.chunks_exact(size).zip(ZIGZAG) {
                table[usize::from(at)] = value.iter().fold(0, |all, byte| all << 8 | u16::from(*byte));
            }
            *self.quants.get_mut(usize::from(head & 15)).ok_or(Refusal::Damaged)? = Some(table);
            segment = rest;
        }
        Ok(())
    }
}
