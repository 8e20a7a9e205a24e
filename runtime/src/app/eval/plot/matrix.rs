//! A confusion matrix as a picture.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{INK, png, px};

/// Up to this many classes the shares are written into the cells.
const WRITTEN: usize = 30;

/// Cells of the matrix take this many pixels of the picture's height together.
const SIDE: u32 = 1240;

/// Room left of and below the matrix: for the names of classes and the axes' own.
const NAMES: u32 = 190;

/// Room above the matrix, and right of it with the scale of colours.
const ABOVE: u32 = 70;
const RIGHT: u32 = 170;

/// Draws the shares of every marked class, a column, by what was found, a row, and returns a PNG file.
/// The last row and column are the background; `None` leaves a cell white.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn confusion(shares: &[Vec<Option<f64>>], names: &[String]) -> Result<Vec<u8>, String> {
    let cells = shares.len() as u32;
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["background"]).collect();
    // Whole pixels per cell, so that no line is wider than its neighbours.
    let cell = (px(SIDE) / cells).max(1);
    let side = cell * cells;
    let size = [NAMES + side / px(1) + RIGHT, ABOVE + side / px(1) + NAMES];
    png(size, |area| {
        let (left, top) = (px(NAMES) as i32, px(ABOVE) as i32);
        let (cell, side) = (cell as i32, side as i32);
        let text = |size: u32, h, v| ("sans-serif", size).into_font().color(&INK).pos(Pos::new(h, v));
        area.draw(&Text::new(
            "Confusion Matrix",
            (left + side / 2, px(ABOVE / 2) as i32),
            text(px(32), HPos::Center, VPos::Center),
        ))?;
        for (y, row) in shares.iter().enumerate() {
            for (x, share) in row.iter().enumerate() {
                let Some(share) = *share else { continue };
                let corner = (left + x as i32 * cell, top + y as i32 * cell);
                let square = [corner, (corner.0 + cell, corner.1 + cell)];
                area.draw(&Rectangle::new(square, blue(share).filled()))?;
                if cells as usize <= WRITTEN {
                    let ink = if share > 0.45 { WHITE } else { INK };
                    let style = text((cell as u32 * 2 / 5).min(px(24)), HPos::Center, VPos::Center);
                    let centre = (corner.0 + cell / 2, corner.1 + cell / 2);
                    area.draw(&Text::new(format!("{share:.2}"), centre, style.color(&ink)))?;
                }
            }
        }
        let frame = [(left, top), (left + side, top + side)];
        area.draw(&Rectangle::new(frame, INK.stroke_width(px(1))))?;
        let name_size = (cell as u32 * 9 / 10).clamp(px(8), px(22));
        for (at, name) in names.iter().enumerate() {
            let middle = at as i32 * cell + cell / 2;
            let beside = text(name_size, HPos::Right, VPos::Center);
            area.draw(&Text::new(*name, (left - px(8) as i32, top + middle), beside))?;
            let below = ("sans-serif", name_size).into_font().transform(FontTransform::Rotate270);
            let below = below.color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(*name, (left + middle, top + side + px(8) as i32), below))?;
        }
        let (far, axis) = (px(20) as i32, px(28));
        let bottom = top + side + px(NAMES) as i32 - far;
        area.draw(&Text::new("True", (left + side / 2, bottom), text(axis, HPos::Center, VPos::Center)))?;
        let upright = ("sans-serif", axis).into_font().transform(FontTransform::Rotate270);
        let upright = upright.color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new("Predicted", (far, top + side / 2), upright))?;
        scale(area, left + side + px(40) as i32, top, side)
    })
}

/// The colours from 0 at the bottom to 1 at the top.
fn scale<'a>(area: &super::Area<'a>, left: i32, top: i32, height: i32) -> Result<(), super::Fault<'a>> {
    let width = px(36) as i32;
    for y in 0..height {
        let share = 1.0 - f64::from(y) / f64::from(height);
        area.draw(&Rectangle::new([(left, top + y), (left + width, top + y + 1)], blue(share).filled()))?;
    }
    for tick in 0..=5 {
        let y = top + height - height * tick / 5;
        let style = ("sans-serif", px(22)).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(format!("{:.1}", f64::from(tick) / 5.0), (left + width + px(10) as i32, y), style))?;
    }
    Ok(())
}

/// From nearly white to dark blue.
fn blue(share: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 5] =
        [[247.0, 251.0, 255.0], [198.0, 219.0, 239.0], [107.0, 174.0, 214.0], [33.0, 113.0, 181.0], [8.0, 48.0, 107.0]];
    let position = share.clamp(0.0, 1.0) * 4.0;
    let (from, to) = (STOPS[position as usize], STOPS[(position as usize + 1).min(4)]);
    let [r, g, b] = [0, 1, 2].map(|i| (from[i] + (to[i] - from[i]) * position.fract()) as u8);
    RGBColor(r, g, b)
}
