//! A borrowed picture in memory.

use super::Error;

/// A borrowed RGB picture: 8 bits per channel, interleaved, rows from the top.
#[derive(Clone, Copy, Debug)]
pub struct ImageRef<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a> ImageRef<'a> {
    /// A picture of `width * height` pixels whose rows follow each other without a gap.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero or `data` is shorter than the picture.
    pub fn rgb(data: &'a [u8], width: usize, height: usize) -> Result<Self, Error> {
        Self::with_stride(data, width, height, width.saturating_mul(3))
    }

    /// A picture of `width * height` pixels whose rows start `stride` bytes apart.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero, a row is longer than `stride`, or `data` is shorter than the picture.
    pub fn with_stride(data: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, Error> {
        let row = width.checked_mul(3);
        let needed = row.and_then(|row| stride.checked_mul(height.saturating_sub(1))?.checked_add(row));
        match (row, needed) {
            (Some(row), Some(needed)) if width > 0 && height > 0 && row <= stride && needed <= data.len() => {
                Ok(Self { data, width, height, stride })
            }
            _ => Err(Error::Image { width, height, stride, got: data.len() }),
        }
    }

    /// Pixels per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Row `y`, `3 * width` bytes. `y` must be below [`height`](Self::height).
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..self.width * 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_sizes_are_refused() {
        let data = [0u8; 24];
        for (w, h, stride) in
            [(0, 1, 24), (1, 0, 24), (3, 3, 9), (4, 2, 11), (usize::MAX, 1, usize::MAX), (2, usize::MAX, usize::MAX)]
        {
            assert!(ImageRef::with_stride(&data, w, h, stride).is_err(), "{w}x{h} stride {stride}");
        }
        assert!(ImageRef::rgb(&data, usize::MAX / 2, 2).is_err());
    }

    #[test]
    fn the_last_row_needs_no_padding() {
        let data: Vec<u8> = (0..15).collect();
        let image = ImageRef::with_stride(&data, 2, 2, 9).unwrap();
        assert_eq!(image.row(1), &[9, 10, 11, 12, 13, 14]);
    }
}
