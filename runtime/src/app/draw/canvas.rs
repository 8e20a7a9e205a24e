//! Pixels to draw on.

use super::palette::Rgb;

/// A borrowed RGB picture that is drawn on; whatever falls outside is cut off.
pub struct Canvas<'a> {
    pixels: &'a mut [u8],
    width: usize,
    height: usize,
}

impl<'a> Canvas<'a> {
    /// A canvas of `width * height` interleaved RGB pixels; `pixels` must hold them all.
    pub fn new(pixels: &'a mut [u8], width: usize, height: usize) -> Self {
        assert_eq!(pixels.len(), width * height * 3, "the pixels fill the canvas");
        Self { pixels, width, height }
    }

    /// Pixels per row.
    pub fn width(&self) -> i32 {
        self.width as i32
    }

    /// Rows.
    pub fn height(&self) -> i32 {
        self.height as i32
    }

    /// Fills the pixels from `left, top` up to but not including `right, bottom`.
    pub fn fill(&mut self, [left, top, right, bottom]: [i32; 4], color: Rgb) {
        let columns = left.clamp(0, self.width()) as usize..right.clamp(0, self.width()) as usize;
        for y in top.clamp(0, self.height())..bottom.clamp(0, self.height()) {
            let row = &mut self.pixels[y as usize * self.width * 3..][..self.width * 3];
            let span = 3 * columns.start..3 * columns.end.max(columns.start);
            row[span].chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&color));
        }
    }

    /// Draws a frame of `thickness` pixels, centred on the edges of the box. At the edges of the picture the frame is
    /// moved inside, so that it is as thick there as elsewhere.
    pub fn frame(&mut self, [left, top, right, bottom]: [i32; 4], thickness: i32, color: Rgb) {
        let outer = thickness / 2;
        let span = |low: i32, high: i32, side: i32| {
            let low = low.saturating_sub(outer).clamp(0, (side - thickness).max(0));
            let high = high.saturating_sub(outer).saturating_add(thickness).clamp(thickness.min(side), side);
            (low, high.max(low + thickness))
        };
        let (l, r) = span(left, right, self.width());
        let (t, b) = span(top, bottom, self.height());
        self.fill([l, t, r, t + thickness], color);
        self.fill([l, b - thickness, r, b], color);
        self.fill([l, t, l + thickness, b], color);
        self.fill([r - thickness, t, r, b], color);
    }

    /// Mixes `color` into a pixel; `coverage` is 0 to 1.
    pub fn blend(&mut self, x: i32, y: i32, color: Rgb, coverage: f32) {
        if (0..self.width()).contains(&x) && (0..self.height()).contains(&y) {
            let at = (y as usize * self.width + x as usize) * 3;
            for (pixel, ink) in self.pixels[at..at + 3].iter_mut().zip(color) {
                let mixed = f32::from(*pixel) + (f32::from(ink) - f32::from(*pixel)) * coverage.clamp(0.0, 1.0);
                *pixel = mixed.round() as u8;
            }
        }
    }
}
