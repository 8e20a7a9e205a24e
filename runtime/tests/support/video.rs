//! Videos made by `ffmpeg` for the tests that want them.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Stdio};

use peristyle_runtime::app::source::Picture;
use peristyle_runtime::app::video::FrameReader;

/// Whether `ffmpeg` is there; says aloud when it is not.
pub fn have_ffmpeg(test: &str) -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        println!("SKIPPED {test}: no `ffmpeg` on PATH");
    }
    found.is_ok()
}

/// Runs `ffmpeg` with arguments separated by spaces, and `output` after them.
pub fn ffmpeg(arguments: &str, output: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
    command.args(arguments.split_whitespace()).arg(output);
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// A white square of 32 that wanders over a black picture of 160x96, ten frames a second, with `encoding`.
pub fn wandering_square(seconds: f64, encoding: &str, output: &Path) {
    let source = |colour, size| format!("-f lavfi -i color={colour}:s={size}:r=10:d={seconds}");
    let (black, white) = (source("black", "160x96"), source("white", "32x32"));
    ffmpeg(&format!("{black} {white} -filter_complex overlay=x=16+40*t:y=24 -threads 1 {encoding}"), output);
}

/// A moving test card with noise, 20 frames of 128x72.
pub fn test_card(encoding: &str, output: &Path) {
    let card = "-f lavfi -i testsrc2=s=128x72:r=20:d=1 -vf noise=alls=6:allf=t";
    ffmpeg(&format!("{card} -pix_fmt yuv420p -threads 1 {encoding}"), output);
}

/// All frames.
pub fn read_all(reader: &mut dyn FrameReader) -> Vec<Picture> {
    let mut pictures = Vec::new();
    while let Some(picture) = reader.read().unwrap() {
        pictures.push(picture);
    }
    pictures
}

/// Peak signal-to-noise ratio in decibels of two pictures of one size.
pub fn psnr(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let error = a.pixels().iter().zip(b.pixels()).map(square).sum::<f64>() / a.pixels().len() as f64;
    10.0 * (255.0 * 255.0 / error.max(1e-9)).log10()
}
