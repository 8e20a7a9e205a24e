//! The forms of `--imgsz`: `640`, `416 640`, `416,640`, `416x640`.

use std::ffi::OsString;

/// Largest height or width.
const MAX: usize = 16_384;

/// Height and width from one argument.
pub fn parse(text: &str) -> Result<[usize; 2], String> {
    let numbers: Option<Vec<usize>> = text.split([',', 'x']).map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[size]) if (1..=MAX).contains(&size) => Ok([size, size]),
        Some(&[height, width]) if (1..=MAX).contains(&height) && (1..=MAX).contains(&width) => Ok([height, width]),
        _ => Err(format!("expected one or two numbers from 1 to {MAX}, as in `640`, `416 640` or `416,640`")),
    }
}

/// Joins two numbers behind `--imgsz` to one argument, so that what follows a single one stays what it is.
pub fn joined(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let number = |arg: &OsString| arg.to_str().is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    let mut joined: Vec<OsString> = Vec::new();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let ended = joined.iter().any(|arg| arg == "--");
        let behind = joined.last().is_some_and(|last| last == "--imgsz") && number(&arg);
        let within = arg.to_str().and_then(|t| t.strip_prefix("--imgsz=")).is_some_and(|t| number(&t.into()));
        joined.push(arg);
        if !ended
            && (behind || within)
            && let Some(second) = args.next_if(number)
            && let Some(size) = joined.last_mut()
        {
            size.push(",");
            size.push(second);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{joined, parse};

    #[test]
    fn sizes_are_one_or_two_numbers() {
        assert_eq!(parse("640"), Ok([640, 640]));
        assert_eq!(parse("416,640"), Ok([416, 640]));
        assert_eq!(parse("416x640"), Ok([416, 640]));
        for bad in ["", "0", "640,", "1,2,3", "model.onnx", "16385", "-1", "640 640,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_numbers_behind_the_option_are_joined() {
        let joined = |text: &str| {
            let args = joined(text.split(' ').map(Into::into)).into_iter();
            args.map(|a| a.into_string().expect("UTF-8")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(joined("p compile --imgsz 320 m.onnx"), "p compile --imgsz 320 m.onnx");
        assert_eq!(joined("p compile --imgsz 640 320 m.onnx"), "p compile --imgsz 640,320 m.onnx");
        assert_eq!(joined("p compile --imgsz=640 320 m.onnx"), "p compile --imgsz=640,320 m.onnx");
        assert_eq!(joined("p compile --imgsz 640,320 7"), "p compile --imgsz 640,320 7");
        assert_eq!(joined("p compile m.onnx --imgsz 640 320"), "p compile m.onnx --imgsz 640,320");
        assert_eq!(joined("p compile -- --imgsz 640 320"), "p compile -- --imgsz 640 320");
        assert_eq!(joined("p --imgsz"), "p --imgsz");
    }
}
