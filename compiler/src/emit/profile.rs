//! The profile of emitted crates: what the Rust compiler spends its time on.

use super::OptTime;

/// Dependencies in which no detector spends time: the command line and its progress, configuration files, character sets,
/// time stamps of videos; and colour management of images, which is never called. Optimised, they take an eighth of a first
/// build.
const COLD: &[&str] = &[
    "clap_builder",
    "clap_complete",
    "clap_lex",
    "encoding_rs",
    "indicatif",
    "moxcms",
    "num-bigint",
    "pxfm",
    "yaml-rust2",
];

/// What every image passes through, and is optimised in quick builds too.
const HOT: &[&str] = &["mozjpeg", "mozjpeg-sys", "peristyle-runtime"];

/// What every manifest ends with.
pub fn profile(opt_time: OptTime) -> String {
    let mut text = String::from("[profile.release]\ncodegen-units = 4\nstrip = true\n\n");
    let mut package = |name: &str, level: u8| {
        text += &format!("[profile.release.package.{name}]\nopt-level = {level}\n\n");
    };
    match opt_time {
        OptTime::Full => COLD.iter().for_each(|name| package(name, 0)),
        OptTime::Fast => {
            package("\"*\"", 0);
            HOT.iter().for_each(|name| package(name, 3));
        }
    }
    text + "[workspace]\n"
}
