//! Spellings that users bring from other tools.

use std::ffi::OsString;

/// Long options that are also spelt with one dash.
const SINGLE_DASH: &[&str] = &["-nstreams", "-ncores", "-pin", "-shapes", "-bi", "-wi"];

/// Rewrites `--conf_thres` to `--conf-thres` and `-nstreams` to `--nstreams`, with or without `=value`.
/// Values, and everything after `--`, stay as they are.
pub(super) fn normalise(args: Vec<OsString>) -> Vec<OsString> {
    let mut options_ended = false;
    args.into_iter()
        .enumerate()
        .map(|(index, arg)| {
            options_ended |= arg == "--";
            match arg.to_str() {
                Some(text) if index > 0 && !options_ended => option(text).map_or(arg, OsString::from),
                _ => arg,
            }
        })
        .collect()
}

/// The usual spelling of an option, or `None` when `arg` is none.
fn option(arg: &str) -> Option<String> {
    let (name, value) = match arg.find('=') {
        Some(at) => arg.split_at(at),
        None => (arg, ""),
    };
    if name.len() > 2 && name.starts_with("--") {
        Some(name.replace('_', "-") + value)
    } else if SINGLE_DASH.contains(&name) {
        Some(format!("-{name}{value}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_other_tools_are_understood() {
        let normalised = |args: &[&str]| {
            let args = std::iter::once(&"a_b").chain(args).map(OsString::from).collect();
            normalise(args).into_iter().skip(1).map(|a| a.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(normalised(&["--conf_thres", "a_b"]), ["--conf-thres", "a_b"]);
        assert_eq!(normalised(&["--conf_thres=0.5_0"]), ["--conf-thres=0.5_0"]);
        assert_eq!(normalised(&["-nstreams", "2", "-ncores=1"]), ["--nstreams", "2", "--ncores=1"]);
        assert_eq!(normalised(&["-b", "8", "-s", "sync"]), ["-b", "8", "-s", "sync"]);
        assert_eq!(normalised(&["--", "--a_b", "-ncores"]), ["--", "--a_b", "-ncores"]);
    }
}
