//! Fitting a picture into the network input, and boxes back into the picture.

use super::ImageRef;
use super::bilinear::{Bilinear, Sample, Window};
#[cfg(not(feature = "std"))]
use crate::simd::math::Float as _;

/// Grey level around a letterboxed picture.
const PAD_LEVEL: u8 = 114;

/// How a picture is fitted into the network input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// Keep the aspect ratio and pad with grey, as Ultralytics does.
    #[default]
    Letterbox,
    /// Scale each side on its own, as DeepSparse does.
    Stretch,
}

/// Where a picture lies in the network input: `input = picture * gain + pad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Input pixels per picture pixel, horizontal and vertical.
    pub gain: [f64; 2],
    /// Input column and row of the picture's upper left corner.
    pub pad: [usize; 2],
    /// Width and height of the scaled picture, in input pixels.
    pub scaled: [usize; 2],
    /// Width and height of the picture.
    pub picture: [usize; 2],
}

impl Placement {
    /// Fits a picture of `picture = [width, height]` into an input of `input = [width, height]`; no side may be zero.
    pub fn new(picture: [usize; 2], input: [usize; 2], resize: Resize) -> Self {
        let ratio = [0, 1].map(|i| input[i] as f64 / picture[i] as f64);
        match resize {
            Resize::Stretch => Self { gain: ratio, pad: [0, 0], scaled: input, picture },
            Resize::Letterbox => {
                let gain = ratio[0].min(ratio[1]);
                // A side much longer than the other would round to zero.
                let scaled =
                    [0, 1].map(|i| ((picture[i] as f64 * gain).round_ties_even() as usize).clamp(1, input[i].max(1)));
                let pad = [0, 1].map(|i| {
                    let half = (input[i] - scaled[i]) as f64 / 2.0;
                    (half - 0.1).round_ties_even().max(0.0) as usize
                });
                Self { gain: [gain, gain], pad, scaled, picture }
            }
        }
    }

    /// A box `[x1, y1, x2, y2]` of the input in pixels of the picture, clipped to the picture.
    pub fn to_picture(&self, xyxy: [f32; 4]) -> [f32; 4] {
        let map = |v: f32, axis: usize| {
            let v = (f64::from(v) - self.pad[axis] as f64) / self.gain[axis];
            v.clamp(0.0, self.picture[axis] as f64) as f32
        };
        [map(xyxy[0], 0), map(xyxy[1], 1), map(xyxy[2], 0), map(xyxy[3], 1)]
    }

    /// A box `[x1, y1, x2, y2]` of the picture in pixels of the input.
    pub fn to_input(&self, xyxy: [f32; 4]) -> [f32; 4] {
        let map = |v: f32, axis: usize| (f64::from(v) * self.gain[axis] + self.pad[axis] as f64) as f32;
        [map(xyxy[0], 0), map(xyxy[1], 1), map(xyxy[2], 0), map(xyxy[3], 1)]
    }
}

/// Scales pictures into network inputs; keeps its tables between pictures.
#[derive(Default)]
pub struct Letterbox {
    bilinear: Bilinear,
}

impl Letterbox {
    /// An instance with nothing allocated yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `image` into `planes`, a `[3, height, width]` input of levels 0 to 255, with `size = [width, height]`.
    /// `planes` must hold `3 * width * height` elements.
    pub fn write_u8(&mut self, image: &ImageRef<'_>, resize: Resize, size: [usize; 2], planes: &mut [u8]) -> Placement {
        self.write(image, resize, size, planes)
    }

    /// Writes `image` into `planes`, a `[3, height, width]` input of numbers 0 to 1, with `size = [width, height]`.
    /// `planes` must hold `3 * width * height` elements.
    pub fn write_f32(
        &mut self,
        image: &ImageRef<'_>,
        resize: Resize,
        size: [usize; 2],
        planes: &mut [f32],
    ) -> Placement {
        self.write(image, resize, size, planes)
    }

    fn write<S: Sample>(
        &mut self,
        image: &ImageRef<'_>,
        resize: Resize,
        size: [usize; 2],
        planes: &mut [S],
    ) -> Placement {
        let [width, height] = size;
        assert_eq!(planes.len(), 3 * width * height, "planes hold three channels of the input size");
        let placement = Placement::new([image.width(), image.height()], size, resize);
        let window = Window {
            left: placement.pad[0],
            top: placement.pad[1],
            width: placement.scaled[0],
            height: placement.scaled[1],
        };
        pad_around(window, width, height, planes);
        self.bilinear.scale_into(image, window, planes, width);
        placement
    }
}

fn pad_around<S: Sample>(window: Window, width: usize, height: usize, planes: &mut [S]) {
    let grey = S::from_level(PAD_LEVEL);
    for plane in planes.chunks_exact_mut(width * height) {
        plane[..window.top * width].fill(grey);
        plane[(window.top + window.height) * width..].fill(grey);
        if window.width < width {
            for row in plane[window.top * width..][..window.height * width].chunks_exact_mut(width) {
                row[..window.left].fill(grey);
                row[window.left + window.width..].fill(grey);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_halves_to_even_like_ultralytics() {
        // 810x1080 -> 480x640: pads 80 | 80. 1281x720: gain 640/1281, 359.7 -> 360, pads 140 | 140.
        let bus = Placement::new([810, 1080], [640, 640], Resize::Letterbox);
        assert_eq!((bus.scaled, bus.pad), ([480, 640], [80, 0]));
        // 640x427 leaves 213 rows: 106 above, 107 below.
        let odd = Placement::new([640, 427], [640, 640], Resize::Letterbox);
        assert_eq!((odd.scaled, odd.pad), ([640, 427], [0, 106]));
        // 128 * 0.01953125 = 2.5 rounds to 2; padding 61.5 + 0.5.
        let half = Placement::new([6400, 250], [64, 64], Resize::Letterbox);
        assert_eq!(half.scaled, [64, 2]);
    }

    #[test]
    fn extreme_aspect_ratios_keep_one_pixel() {
        let thin = Placement::new([100_000, 1], [640, 640], Resize::Letterbox);
        assert_eq!(thin.scaled, [640, 1]);
    }

    #[test]
    fn the_padding_is_grey_and_nothing_else_is() {
        let data = vec![255u8; 20 * 10 * 3];
        let image = ImageRef::rgb(&data, 20, 10).unwrap();
        let mut planes = vec![0u8; 3 * 32 * 32];
        let placement = Letterbox::new().write_u8(&image, Resize::Letterbox, [32, 32], &mut planes);
        assert_eq!((placement.scaled, placement.pad), ([32, 16], [0, 8]));
        for (i, v) in planes.iter().enumerate() {
            let y = i % 1024 / 32;
            assert_eq!(*v, if (8..24).contains(&y) { 255 } else { 114 }, "row {y}");
        }
        let mut floats = vec![0f32; 3 * 32 * 32];
        Letterbox::new().write_f32(&image, Resize::Letterbox, [32, 32], &mut floats);
        assert!(floats.iter().zip(&planes).all(|(f, u)| *f == f32::from(*u) / 255.0));
    }

    #[test]
    fn stretching_fills_the_input() {
        let data = vec![9u8; 20 * 10 * 3];
        let image = ImageRef::rgb(&data, 20, 10).unwrap();
        let mut planes = vec![0u8; 3 * 32 * 32];
        let placement = Letterbox::new().write_u8(&image, Resize::Stretch, [32, 32], &mut planes);
        assert!(planes.iter().all(|v| *v == 9));
        assert_eq!(placement.to_picture([0.0, 16.0, 32.0, 40.0]), [0.0, 5.0, 20.0, 10.0]);
    }
}
