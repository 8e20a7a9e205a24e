//! Lines of text.

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};

use super::canvas::Canvas;
use super::palette::Rgb;

/// DejaVu Sans, Latin-1 only; its licence lies beside it.
pub(in crate::app) static FONT: &[u8] = include_bytes!("font/DejaVuSans-Latin1.ttf");

/// The built-in font at one size.
pub struct TextStyle {
    font: FontRef<'static>,
    scale: PxScale,
}

impl TextStyle {
    /// Text whose ascent and descent add up to `height` pixels.
    pub fn new(height: f32) -> Self {
        let font = FontRef::try_from_slice(FONT).expect("the built-in font is a TrueType font");
        Self { font, scale: PxScale::from(height) }
    }

    /// Width and height of a line of text, in pixels.
    pub fn size(&self, text: &str) -> [i32; 2] {
        let scaled = self.font.as_scaled(self.scale);
        let width = self.place(text).last().map_or(0.0, |(glyph, x)| x + scaled.h_advance(*glyph));
        [width.ceil() as i32, scaled.height().ceil() as i32]
    }

    /// Pixels to leave free on either side of a line of text.
    pub fn margin(&self) -> i32 {
        (self.scale.y / 6.0).round().max(2.0) as i32
    }

    /// Width and height of the filled rectangle behind a line of text.
    pub fn plate(&self, text: &str) -> [i32; 2] {
        let [width, height] = self.size(text);
        [width + 2 * self.margin(), height]
    }

    /// Draws a line of text whose upper left corner is `left, top`.
    pub fn draw(&self, canvas: &mut Canvas<'_>, [left, top]: [i32; 2], text: &str, color: Rgb) {
        let baseline = top as f32 + self.font.as_scaled(self.scale).ascent();
        for (id, x) in self.place(text) {
            let glyph = id.with_scale_and_position(self.scale, point(left as f32 + x, baseline));
            if let Some(outline) = self.font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                let (x0, y0) = (corner.x as i32, corner.y as i32);
                outline.draw(|x, y, coverage| canvas.blend(x0 + x as i32, y0 + y as i32, color, coverage));
            }
        }
    }

    /// Glyphs with their distance from the start of the line.
    fn place(&self, text: &str) -> Vec<(GlyphId, f32)> {
        let scaled = self.font.as_scaled(self.scale);
        let mut x = 0.0;
        let mut previous = None;
        text.chars()
            .map(|c| {
                let id = scaled.glyph_id(c);
                x += previous.map_or(0.0, |before| scaled.h_advance(before) + scaled.kern(before, id));
                previous = Some(id);
                (id, x)
            })
            .collect()
    }
}
