//! JPEG files give the levels that libjpeg-turbo gives; `jpeg/make.py` makes files and hashes.
#![cfg(feature = "app")]

use std::path::Path;

use peristyle_runtime::app::source::{Limits, Picture};

/// Name, width, height and FNV-1a of the interleaved RGB levels.
const FILES: &[(&str, usize, usize, u64)] = &[
    ("s420", 53, 37, 0xecda_9d71_977f_52f8),
    ("s420_progressive", 53, 37, 0x0bd3_b60b_e9e2_bb3f),
    ("s422_restart", 41, 19, 0xe057_5b16_4521_ec4b),
    ("s440", 23, 35, 0xaf88_7c98_cd7a_2214),
    ("s411", 45, 18, 0x796a_6236_7711_9ef9),
    ("s444_progressive_restart", 33, 17, 0x98f1_d8da_4003_b148),
    ("s420_narrow", 3, 30, 0x9154_fa4f_4b0e_9880),
    ("grey", 31, 22, 0x6aef_2e97_7799_87a3),
];

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn every_sampling_and_process_agrees_with_libjpeg_turbo() {
    for (name, width, height, expected) in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/jpeg/{name}.jpg"));
        let mut picture = Picture::open(&path, &Limits::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), (*width, *height), "{name}");
        assert_eq!(fnv(picture.pixels_mut()), *expected, "{name}");
    }
}

#[test]
fn damaged_files_give_a_picture_or_an_error() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg");
    let mut state = 7u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut pictures, mut errors) = (0, 0);
    for (name, ..) in FILES {
        let original = std::fs::read(directory.join(format!("{name}.jpg"))).unwrap();
        for case in 0..500 {
            let mut bytes = original.clone();
            if case % 4 == 0 {
                bytes.truncate(next(bytes.len()));
            }
            for _ in 0..next(4) {
                if !bytes.is_empty() {
                    let at = next(bytes.len());
                    bytes[at] = next(256) as u8;
                }
            }
            match Picture::decode(&bytes, &Limits { pixels: 1 << 22, ..Limits::default() }) {
                Ok(_) => pictures += 1,
                Err(_) => errors += 1,
            }
        }
    }
    assert!(pictures > 0 && errors > 0, "{pictures} pictures, {errors} errors");
}

#[test]
fn files_cut_short_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg/s420.jpg");
    let bytes = std::fs::read(path).unwrap();
    let error = Picture::decode(&bytes[..bytes.len() - 400], &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG file is cut short: copy it again");
}

#[test]
fn thousands_of_scans_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg/s420_progressive.jpg");
    let mut bytes = std::fs::read(path).unwrap();
    let last = bytes.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap();
    let scan = bytes[last..bytes.len() - 2].to_vec();
    bytes.truncate(bytes.len() - 2);
    for _ in 0..500 {
        bytes.extend(&scan);
    }
    bytes.extend([0xff, 0xd9]);
    let error = Picture::decode(&bytes, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG file has more than 500 scans: save it again");
}
