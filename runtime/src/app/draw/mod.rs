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

/// Draws every object with its label and score, the best on top.
///
/// Lines and letters grow with the picture; colours depend on the class id only.
pub fn annotate<'a>(canvas: &mut Canvas<'_>, found: &Detections, label: impl Fn(usize) -> Cow<'a, str>) {
    let mean_side = (canvas.width() + canvas.height()) as f32 / 2.0;
    let thickness = ((mean_side * 0.003).round() as i32).max(2);
    let text = TextStyle::new((mean_side * 0.022).max(13.0));
    let mut objects: Vec<_> = found.iter().collect();
    objects.reverse();
    for (xyxy, score, class_id) in objects {
        let corners = xyxy.map(|v| v.round() as i32);
        let color = class_color(class_id);
        canvas.frame(corners, thickness, color);
        draw_label(canvas, corners, thickness, &text, &format!("{} {score:.2}", label(class_id)), color);
    }
}

/// Above the box, or inside it when there is no room above; never beyond the right edge when it can be helped.
fn draw_label(
    canvas: &mut Canvas<'_>,
    [left, top, ..]: [i32; 4],
    thickness: i32,
    text: &TextStyle,
    label: &str,
    color: Rgb,
) {
    let [width, height] = text.size(label);
    let margin = (height / 6).max(2);
    let outer = thickness / 2;
    let box_width = width + 2 * margin;
    let left = (left - outer).min(canvas.width() - box_width).max(0);
    let above = top - outer - height;
    let label_top = if above >= 0 { above } else { (top - outer).max(0) };
    canvas.fill([left, label_top, left + box_width, label_top + height], color);
    text.draw(canvas, [left + margin, label_top], label, ink_on(color));
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
        annotate(&mut Canvas::new(&mut pixels, 64, 48), &found, |id| Cow::Owned(format!("class \u{e9}\u{4e00} {id}")));
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
