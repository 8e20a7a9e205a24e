//! Image files become the pictures that they stand for; `pictures/make.py` makes both.
#![cfg(feature = "app")]

use std::path::{Path, PathBuf};

use peristyle_runtime::app::source::{Limits, Picture, PictureError};

/// A file, the PNG file that holds what it stands for, and how far a level may be from it.
const FILES: &[(&str, &str, u8)] = &[
    ("palette.png", "blocks", 0),
    ("palette.bmp", "blocks", 0),
    ("palette.gif", "blocks", 0),
    ("two_frames.gif", "blocks", 0),
    ("rgb.bmp", "blocks", 0),
    ("rgb16.png", "blocks", 0),
    ("lzw.tif", "blocks", 0),
    ("deflate.tif", "blocks", 0),
    ("lossless.webp", "blocks", 0),
    ("grey.png", "grey_reference", 0),
    ("alpha.png", "over_white", 1),
    ("alpha.webp", "over_white", 1),
    ("alpha.tif", "over_white", 1),
    ("transparent.png", "transparent_reference", 0),
    ("transparent.gif", "transparent_reference", 0),
    ("orientation_6.png", "blocks", 0),
    ("orientation_6.webp", "blocks", 0),
    ("lossy.webp", "smooth", 16),
    ("progressive.jpg", "smooth", 6),
    ("multi_picture.mpo", "smooth", 6),
    ("cmyk.jpg", "cmyk_reference", 2),
    ("ycck.jpg", "ycck_reference", 2),
    ("orientation_1.jpg", "smooth", 6),
    ("orientation_2.jpg", "smooth", 6),
    ("orientation_3.jpg", "smooth", 6),
    ("orientation_4.jpg", "smooth", 6),
    ("orientation_5.jpg", "smooth", 6),
    ("orientation_6.jpg", "smooth", 6),
    ("orientation_7.jpg", "smooth", 6),
    ("orientation_8.jpg", "smooth", 6),
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name)
}

#[test]
fn every_format_shows_what_it_holds() {
    let mut wrong = Vec::new();
    for (name, reference, tolerance) in FILES {
        let reference = image::open(file(&format!("{reference}.png"))).unwrap().into_rgb8();
        let picture = match Picture::open(&file(name), &Limits::default()) {
            Ok(picture) => picture,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let size = (reference.width() as usize, reference.height() as usize);
        if (picture.width(), picture.height()) != size {
            wrong.push(format!("{name}: {}x{}, not {size:?}", picture.width(), picture.height()));
            continue;
        }
        let levels = picture.pixels().iter().zip(reference.as_raw());
        let furthest = levels.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if furthest > *tolerance {
            wrong.push(format!("{name}: a level is off by {furthest}, more than {tolerance}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_cut_anywhere_give_a_picture_or_an_error() {
    for (name, ..) in FILES {
        let bytes = std::fs::read(file(name)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            let _ = Picture::decode(&bytes[..length], &Limits::default());
        }
    }
}

#[test]
fn pictures_above_the_limit_are_refused_in_every_format() {
    let limits = Limits { pixels: 26 * 18 - 1, ..Limits::default() };
    for (name, ..) in FILES {
        let error = Picture::open(&file(name), &limits).unwrap_err();
        assert!(matches!(error, PictureError::TooManyPixels { .. }), "{name}: {error}");
    }
}
