//! Pictures with objects drawn in, against stored ones. `PERISTYLE_BLESS=1` rewrites those; the tests still fail once.

mod support;

use std::path::Path;

use image::RgbImage;
use support::{BLUE, Folder, GREEN, Patch, RED, YELLOW};

/// Levels by which a pixel may differ, for fonts are drawn with floating-point numbers.
const TOLERANCE: u8 = 2;

/// Draws the objects of a picture and compares it with `golden/<name>`.
fn assert_golden(name: &str, size: [u32; 2], patches: &[Patch], args: &[&str]) {
    let folder = Folder::new();
    folder.picture(name, size, patches);
    folder.succeed(&[&["detect", "--source", name, "--output", "out"], args].concat());
    let drawn = image::open(folder.join("out").join(name)).unwrap().into_rgb8();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("PERISTYLE_BLESS").is_some() {
        drawn.save(&golden).unwrap();
        panic!("{} was written; look at it", golden.display());
    }
    let expected = image::open(&golden).unwrap().into_rgb8();
    assert_eq!(drawn.dimensions(), expected.dimensions());
    let far = |drawn: &RgbImage| {
        let pairs = drawn.as_raw().iter().zip(expected.as_raw());
        pairs.filter(|(a, b)| a.abs_diff(**b) > TOLERANCE).count()
    };
    assert_eq!(far(&drawn), 0, "levels that differ from {}", golden.display());
}

/// Labels at every edge: above the box, below its upper edge, moved to the left; a small box, and one inside another.
#[test]
fn labels_stay_inside_the_picture() {
    let patches = [
        (RED, [0, 0, 70, 90]),
        (GREEN, [300, 60, 320, 200]),
        (BLUE, [120, 100, 260, 200]),
        (YELLOW, [150, 140, 210, 190]),
    ];
    assert_golden("street.png", [320, 200], &patches, &[]);
}

#[test]
fn tiny_pictures_keep_legible_labels() {
    assert_golden("tiny.png", [48, 36], &[(GREEN, [10, 20, 30, 30])], &[]);
}

#[test]
fn thick_lines_have_large_letters() {
    assert_golden("thick.png", [320, 200], &[(BLUE, [120, 100, 260, 200])], &["--line-thickness", "8"]);
}

#[test]
fn boxes_without_labels_are_only_frames() {
    assert_golden("frames.png", [160, 100], &[(RED, [20, 30, 70, 90]), (GREEN, [50, 40, 120, 80])], &["--hide-labels"]);
}
