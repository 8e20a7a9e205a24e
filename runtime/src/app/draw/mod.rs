//! Boxes and labels on pictures.

mod canvas;
mod palette;
mod text;

use std::borrow::Cow;

pub use canvas::Canvas;
pub use palette::{Rgb, class_color, ink_on};
pub(in crate::app) use text::FONT;
pub use text::TextStyle;

use crate::detect::Detections;

/// How objects are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Pixels of a line; chosen by the size of the picture when `None`.
    pub line: Option<u16>,
    /// Whether boxes have labels.
    pub labels: bool,
    /// Whether labels have scores.
    pub scores: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { line: None, labels: true, scores: true }
    }
}

/// Sizes for a picture whose sides are `mean_side` pixels in the mean.
struct Sizes {
    /// Pixels of a line.
    line: i32,
    /// Pixels from the top of the highest letter to the bottom of the lowest.
    text: f32,
    /// The same for labels that would not fit into the width of the picture otherwise.
    smallest_text: f32,
}

impl Sizes {
    fn new(mean_side: f32, style: &Style) -> Self {
        let thinnest = if mean_side < 200.0 { 1 } else { 2 };
        let line = style.line.map_or(((mean_side * 0.003).round() as i32).max(thinnest), i32::from);
        // Legible on small pictures, though not at the price of the picture; not lost beside the lines of a user.
        let beside_line = style.line.map_or(0.0, |line| 4.0 * f32::from(line));
        let least = (mean_side * 0.09).clamp(9.0, 14.0).max(beside_line);
        Self { line, text: (mean_side * 0.025).max(least), smallest_text: 9.0 }
    }
}

/// Draws every object with its label and score: the boxes, best on top, then the labels, best on top, so that no line
/// crosses a label.
///
/// Lines and letters grow with the picture; colours depend on the class id only.
pub fn annotate<'a>(canvas: &mut Canvas<'_>, found: &Detections, style: &Style, label: impl Fn(usize) -> Cow<'a, str>) {
    let sizes = Sizes::new((canvas.width() + canvas.height()) as f32 / 2.0, style);
    let objects: Vec<_> = found.iter().collect();
    for (xyxy, _, class_id) in objects.iter().rev() {
        canvas.frame(pixels(*xyxy), sizes.line, class_color(*class_id));
    }
    if !style.labels {
        return;
    }
    let texts = [TextStyle::new(sizes.text), TextStyle::new(sizes.smallest_text)];
    for (xyxy, score, class_id) in objects.iter().rev() {
        let name = label(*class_id);
        let line = if style.scores { format!("{name} {score:.2}") } else { name.into_owned() };
        let fits = texts[0].plate(&line)[0] <= canvas.width();
        draw_label(canvas, pixels(*xyxy), sizes.line, &texts[usize::from(!fits)], &line, class_color(*class_id));
    }
}

/// Writes a line into the left upper corner, dark on a white plate.
pub fn note(canvas: &mut Canvas<'_>, line: &str) {
    let sizes = Sizes::new((canvas.width() + canvas.height()) as f32 / 2.0, &Style::default());
    let text = TextStyle::new(sizes.text);
    let [width, height] = text.plate(line);
    canvas.fill([0, 0, width, height], [255; 3]);
    text.draw(canvas, [text.margin(), 0], line, [0; 3]);
}

fn pixels(xyxy: [f32; 4]) -> [i32; 4] {
    xyxy.map(|v| v.round() as i32)
}

/// Above the box, or inside it when there is no room above; never beyond an edge of the picture when it can be helped.
fn draw_label(
    canvas: &mut Canvas<'_>,
    [left, top, ..]: [i32; 4],
    thickness: i32,
    text: &TextStyle,
    label: &str,
    color: Rgb,
) {
    let [width, height] = text.plate(label);
    let outer = thickness / 2;
    let left = (left - outer).min(canvas.width() - width).max(0);
    let above = top - outer - height;
    let lowest = (canvas.height() - height).max(0);
    let label_top = if above >= 0 { above } else { (top - outer).max(0) }.min(lowest);
    canvas.fill([left, label_top, left + width, label_top + height], color);
    text.draw(canvas, [left + text.margin(), label_top], label, ink_on(color));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_anywhere_are_drawn_without_leaving_the_picture() {
        let found = Detections {
            boxes: vec![[0.0, 0.0, 63.0, 47.0], [60.0, 40.0, 64.0, 48.0], [-1e9, -1e9, 1e9, 1e9], [5.0; 4]],
            scores: vec![0.9, 0.8, 0.7, 0.6],
            class_ids: vec![0, 1, 79, 1000],
        };
        let mut pixels = vec![7u8; 64 * 48 * 3];
        let style = Style::default();
        annotate(&mut Canvas::new(&mut pixels, 64, 48), &found, &style, |id| {
            Cow::Owned(format!("class \u{e9}\u{4e00} {id}"))
        });
        assert!(pixels.chunks_exact(3).any(|p| p == class_color(0)));
    }

    #[test]
    fn text_takes_the_room_it_says() {
        let style = TextStyle::new(20.0);
        let [width, height] = style.size("person 0.87");
        let mut pixels = vec![0u8; 300 * 60 * 3];
        style.draw(&mut Canvas::new(&mut pixels, 300, 60), [50, 20], "person 0.87", [255; 3]);
        for (i, pixel) in pixels.chunks_exact(3).enumerate() {
            let (x, y) = ((i % 300) as i32 - 50, (i / 300) as i32 - 20);
            let inside = (-1..=width + 1).contains(&x) && (0..height).contains(&y);
            assert!(inside || pixel == [0; 3], "ink at {x},{y} outside {width}x{height}");
        }
        assert!(pixels.contains(&255) && style.size("") == [0, height]);
    }
}
