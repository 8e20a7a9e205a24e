//! Figures as PNG files, drawn without a font or library of the system.

mod curve;
mod matrix;

pub use curve::{Axes, Line, lines};
pub use matrix::confusion;

use std::sync::Once;

use plotters::prelude::*;

use crate::app::draw::FONT;

/// Pixels are averaged over this many in each direction, which smooths every edge.
const SAMPLES: u32 = 2;

/// The area that figures are drawn on.
type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

/// A failure to draw, which a size or font out of range would be.
type Fault<'a> = DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

/// The drawing's colour for what is not data.
const INK: RGBColor = RGBColor(38, 38, 38);

/// Draws on white and returns a PNG file. Sizes in `draw` are pixels of the file times [`SAMPLES`].
fn png(
    [width, height]: [u32; 2],
    draw: impl for<'a> FnOnce(&Area<'a>) -> Result<(), Fault<'a>>,
) -> Result<Vec<u8>, String> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // A font that ab_glyph cannot read would have been found by the test below.
        let _ = plotters::style::register_font("sans-serif", FontStyle::Normal, FONT);
    });
    let (wide, tall) = (width * SAMPLES, height * SAMPLES);
    let mut pixels = vec![255u8; (wide * tall * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (wide, tall)).into_drawing_area();
        draw(&area).and_then(|()| area.present()).map_err(|error| error.to_string())?;
    }
    let mut averaged = Vec::with_capacity((width * height * 3) as usize);
    let row = (wide * 3) as usize;
    for rows in pixels.chunks_exact(row * SAMPLES as usize) {
        for x in 0..width as usize {
            for channel in 0..3 {
                let samples = (0..SAMPLES as usize).flat_map(|dy| {
                    (0..SAMPLES as usize).map(move |dx| dy * row + (x * SAMPLES as usize + dx) * 3 + channel)
                });
                let sum: u32 = samples.map(|at| u32::from(rows[at])).sum();
                averaged.push((sum / (SAMPLES * SAMPLES)) as u8);
            }
        }
    }
    let mut file = Vec::new();
    image::ImageEncoder::write_image(
        image::codecs::png::PngEncoder::new(&mut file),
        &averaged,
        width,
        height,
        image::ExtendedColorType::Rgb8,
    )
    .map_err(|error| error.to_string())?;
    Ok(file)
}

/// A size in pixels of the file.
fn px(size: u32) -> u32 {
    size * SAMPLES
}
