//! Colours of classes.

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// Colours that stay apart from each other and from their neighbours in the list.
const PALETTE: [Rgb; 20] = [
    [230, 57, 70],
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
    [255, 111, 97],
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

/// Black or white, whichever is easier to read on `background`.
pub fn ink_on(background: Rgb) -> Rgb {
    let [r, g, b] = background.map(u32::from);
    if 299 * r + 587 * g + 114 * b > 150_000 { [0; 3] } else { [255; 3] }
}
