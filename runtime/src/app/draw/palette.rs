//! Colours of classes.

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// Colours that stay apart from each other and from their neighbours in the list.
const PALETTE: [Rgb; 20] = [
    [255, 82, 82],
    [29, 120, 214],
    [42, 157, 71],
    [244, 140, 6],
    [131, 56, 236],
    [0, 168, 168],
    [214, 40, 140],
    [128, 152, 20],
    [90, 70, 60],
    [58, 190, 240],
    [255, 190, 11],
    [67, 56, 158],
    [250, 220, 180],
    [0, 109, 91],
    [188, 108, 230],
    [150, 90, 30],
    [120, 220, 120],
    [120, 20, 50],
    [255, 150, 190],
    [90, 110, 130],
];

/// The colour of a class, the same in every run.
pub fn class_color(class_id: usize) -> Rgb {
    PALETTE[class_id % PALETTE.len()]
}

/// Black or white, whichever contrasts more with `background`.
pub fn ink_on(background: Rgb) -> Rgb {
    let light = luminance(background);
    // Contrast as WCAG defines it.
    let (with_black, with_white) = ((light + 0.05) / 0.05, 1.05 / (light + 0.05));
    if with_black > with_white { [0; 3] } else { [255; 3] }
}

/// Relative luminance of an sRGB colour, 0 to 1.
fn luminance(color: Rgb) -> f32 {
    let [r, g, b] = color.map(|level| {
        let level = f32::from(level) / 255.0;
        if level <= 0.04045 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_every_class_are_legible() {
        for class_id in 0..PALETTE.len() {
            let fill = class_color(class_id);
            let (ink, fill) = (luminance(ink_on(fill)), luminance(fill));
            let contrast = (ink.max(fill) + 0.05) / (ink.min(fill) + 0.05);
            assert!(contrast >= 4.5, "class {class_id}: {contrast}");
        }
    }

    #[test]
    fn neighbours_in_the_palette_differ() {
        for (i, a) in PALETTE.iter().enumerate() {
            for b in &PALETTE[i + 1..] {
                let distance: i32 = a.iter().zip(b).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).sum();
                assert!(distance >= 60, "{a:?} {b:?}");
            }
        }
    }
}
