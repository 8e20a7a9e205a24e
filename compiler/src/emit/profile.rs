//! The profile of emitted crates: what the Rust compiler spends its time on.

use super::OptTime;

/// Dependencies in which no detector spends time, and of which little is linked: character sets, time stamps of videos; and
/// colour management of images, which is never called. Optimised for size, they would take 5 % of a first build more.
const COLD: &[&str] = &["encoding_rs", "moxcms", "num-bigint", "pxfm"];

/// As [`COLD`], and much of it is linked: the command line and its progress, and configuration files. Without optimisation
/// they are 1.2 MB of a binary more, and 3 % of a first build less.
const SMALL: &[&str] = &["clap_builder", "clap_complete", "clap_lex", "indicatif", "yaml-rust2"];

/// What every image passes through, and is optimised in quick builds too.
const HOT: &[&str] = &["mozjpeg", "mozjpeg-sys", "peristyle-runtime"];

/// What every manifest ends with.
pub fn profile(opt_time: OptTime) -> String {
    let mut text = String::from("[profile.release]\ncodegen-units = 4\nstrip = true\n\n");
    let mut package = |name: &str, level: &str| {
        text += &format!("[profile.release.package.{name}]\nopt-level = {level}\n\n");
    };
    match opt_time {
        OptTime::Full => {
            COLD.iter().for_each(|name| package(name, "0"));
            SMALL.iter().for_each(|name| package(name, "\"s\""));
        }
        OptTime::Fast => {
            package("\"*\"", "0");
            HOT.iter().for_each(|name| package(name, "3"));
        }
    }
    text + "[workspace]\n"
}
