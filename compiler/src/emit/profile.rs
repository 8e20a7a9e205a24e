//! The profile of emitted crates: what the Rust compiler spends its time on.

use super::OptTime;

/// Dependencies that a detector spends time in: kernels, image and video formats, the service. Compiled with all
/// optimisations; the others, like command lines, figures and configuration files, take a third of a first build then,
/// and no time of a detector.
const HOT: &[&str] = &[
    "base64",
    "bytes",
    "crc32fast",
    "fdeflate",
    "flate2",
    "gif",
    "http",
    "httparse",
    "hyper",
    "image",
    "image-webp",
    "itoa",
    "memchr",
    "miniz_oxide",
    "mozjpeg",
    "mozjpeg-sys",
    "peristyle-runtime",
    "png",
    "rusty_h264-accel",
    "rusty_h264-common",
    "rusty_h264-decoder",
    "rusty_h264-encoder",
    "serde_json",
    "simd-adler32",
    "tiff",
    "tokio",
    "weezl",
    "wide",
    "zune-core",
    "zune-jpeg",
];

/// Of a quick build: what every image passes through.
const HOT_OF_FAST: &[&str] = &["mozjpeg", "mozjpeg-sys", "peristyle-runtime"];

/// Dependencies of dependencies that no detector calls: colour management of images.
const UNUSED: &[&str] = &["moxcms", "pxfm"];

/// What every manifest ends with.
pub fn profile(opt_time: OptTime) -> String {
    let (hot, cold) = match opt_time {
        OptTime::Full => (HOT, 1),
        OptTime::Fast => (HOT_OF_FAST, 0),
    };
    let mut text = String::from("[profile.release]\ncodegen-units = 4\nstrip = true\n\n");
    let mut package = |name: &str, level: u8| {
        text += &format!("[profile.release.package.{name}]\nopt-level = {level}\n\n");
    };
    package("\"*\"", cold);
    hot.iter().for_each(|name| package(name, 3));
    if cold > 0 {
        UNUSED.iter().for_each(|name| package(name, 0));
    }
    text + "[workspace]\n"
}
