//! Photographs, varied.

use super::Error;
use fastrand::Rng;

/// A photograph: 8-bit RGB, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` pixels of red, green, blue.
    pub rgb: Vec<u8>,
}

/// How photographs are varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Least and largest scale, 1 being the photograph fitted into twice the training size: the size at which YOLOv5
    /// models are used when they are trained at 320.
    pub scale: [f32; 2],
    /// Largest change of the ratio of width to height, as a factor.
    pub stretch: f32,
    /// Largest rotation, in degrees.
    pub rotation: f32,
    /// Share of images made of four photographs.
    pub mosaic: f32,
    /// Largest change of brightness, contrast and saturation, as a factor above 1; and of each colour, by half of it.
    pub colour: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation { scale: [0.4, 1.3], stretch: 1.2, rotation: 5.0, mosaic: 0.5, colour: 0.4 }
    }
}

/// What stands beside a photograph, as in YOLOv5's letterbox.
const GREY: f32 = 114.0 / 255.0;

/// Draws training images.
pub(super) struct Sampler<'a> {
    pictures: &'a [Picture],
    augmentation: &'a Augmentation,
    size: usize,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(pictures: &'a [Picture], augmentation: &'a Augmentation, size: usize) -> Result<Self, Error> {
        if pictures.is_empty() {
            return Err(Error::NoPictures);
        }
        for (index, &Picture { width, height, ref rgb }) in pictures.iter().enumerate() {
            if rgb.is_empty() || rgb.len() != width * height * 3 {
                return Err(Error::Torn { index, width, height, bytes: rgb.len() });
            }
        }
        Ok(Sampler { pictures, augmentation, size })
    }

    /// Fills `pixels`, `[3, size, size]`.
    pub(super) fn draw(&self, random: &mut Rng, pixels: &mut [f32]) {
        let size = self.size;
        let mut middle = || size as f32 * between(random, [0.25, 0.75]);
        let (x, y) = (middle() as usize, middle() as usize);
        if random.f32() < self.augmentation.mosaic {
            for (rows, columns) in [(0..y, 0..x), (0..y, x..size), (y..size, 0..x), (y..size, x..size)] {
                self.place(random, pixels, rows, columns);
            }
        } else {
            self.place(random, pixels, 0..size, 0..size);
        }
    }

    /// Fills a rectangle with a crop of some photograph.
    fn place(
        &self,
        random: &mut Rng,
        pixels: &mut [f32],
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) {
        let picture = &self.pictures[random.usize(..self.pictures.len())];
        let options = self.augmentation;
        let fitted = 2.0 * self.size as f32 / picture.width.max(picture.height) as f32;
        let scale = fitted * between(random, options.scale.map(f32::ln)).exp();
        let stretch = factor(random, options.stretch).sqrt();
        let angle = between(random, [-options.rotation, options.rotation]).to_radians();
        let mirror = if random.bool() { -1.0 } else { 1.0 };
        // From the rectangle to the photograph, about the middles of both.
        let across = [angle.cos() / (scale * stretch) * mirror, angle.sin() / (scale * stretch) * mirror];
        let down = [-angle.sin() / (scale / stretch), angle.cos() / (scale / stretch)];
        let middle = |extent: usize, scale: f32, part: usize, random: &mut Rng| {
            let slack = (extent as f32 - part as f32 / scale) / 2.0;
            extent as f32 / 2.0 + between(random, [-slack.abs(), slack.abs()])
        };
        let x = middle(picture.width, scale * stretch, columns.len(), random);
        let y = middle(picture.height, scale / stretch, rows.len(), random);
        let colour = Colour::draw(random, options.colour);
        let plane = self.size * self.size;
        for row in rows.clone() {
            let dy = row as f32 + 0.5 - (rows.start + rows.end) as f32 / 2.0;
            for column in columns.clone() {
                let dx = column as f32 + 0.5 - (columns.start + columns.end) as f32 / 2.0;
                let source = [x + dx * across[0] + dy * down[0], y + dx * across[1] + dy * down[1]];
                let rgb = sample(picture, source).map_or([GREY; 3], |rgb| colour.apply(rgb));
                let at = row * self.size + column;
                rgb.iter().enumerate().for_each(|(channel, x)| pixels[channel * plane + at] = *x);
            }
        }
    }
}

/// A photograph fitted whole and unvaried into a square, `[3, size, size]`.
pub(super) fn fitted(picture: &Picture, size: usize) -> Vec<f32> {
    let scale = size as f32 / picture.width.max(picture.height) as f32;
    let mut pixels = vec![GREY; 3 * size * size];
    for row in 0..size {
        for column in 0..size {
            let from_middle = |at: usize| at as f32 + 0.5 - size as f32 / 2.0;
            let x = picture.width as f32 / 2.0 + from_middle(column) / scale;
            let y = picture.height as f32 / 2.0 + from_middle(row) / scale;
            if let Some(rgb) = sample(picture, [x, y]) {
                rgb.iter().enumerate().for_each(|(c, v)| pixels[(c * size + row) * size + column] = *v);
            }
        }
    }
    pixels
}

/// The colour at a point, bilinear, from 0 to 1; nothing outside.
fn sample(picture: &Picture, [x, y]: [f32; 2]) -> Option<[f32; 3]> {
    if !(0.0..picture.width as f32).contains(&x) || !(0.0..picture.height as f32).contains(&y) {
        return None;
    }
    let along = |at: f32, extent: usize| {
        let at = (at - 0.5).clamp(0.0, (extent - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(extent - 1), at - first as f32)
    };
    let ((x0, x1, fx), (y0, y1, fy)) = (along(x, picture.width), along(y, picture.height));
    let pixel = |x: usize, y: usize| &picture.rgb[(y * picture.width + x) * 3..][..3];
    let corners = [pixel(x0, y0), pixel(x1, y0), pixel(x0, y1), pixel(x1, y1)];
    let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
    let channel = |c: usize| corners.iter().zip(weights).map(|(p, w)| f32::from(p[c]) * w).sum::<f32>() / 255.0;
    Some([channel(0), channel(1), channel(2)])
}

/// A change of colours.
struct Colour {
    gain: [f32; 3],
    contrast: f32,
    saturation: f32,
}

impl Colour {
    fn draw(random: &mut Rng, strength: f32) -> Self {
        let brightness = factor(random, 1.0 + strength);
        let mut gain = || brightness * factor(random, 1.0 + strength / 2.0);
        let gain = [gain(), gain(), gain()];
        Colour { gain, contrast: factor(random, 1.0 + strength), saturation: factor(random, 1.0 + strength) }
    }

    fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        let grey = rgb.iter().sum::<f32>() / 3.0;
        let one = |c: usize| {
            let saturated = (rgb[c] - grey) * self.saturation + grey;
            (((saturated - 0.5) * self.contrast + 0.5) * self.gain[c]).clamp(0.0, 1.0)
        };
        [one(0), one(1), one(2)]
    }
}

fn between(random: &mut Rng, [lo, hi]: [f32; 2]) -> f32 {
    lo + (hi - lo) * random.f32()
}

/// A factor between `1 / most` and `most`, as often above as below 1.
fn factor(random: &mut Rng, most: f32) -> f32 {
    (between(random, [-1.0, 1.0]) * most.ln()).exp()
}
