//! The forms of `--imgsz`: `640`, `416 640`, `416,640`, `416x640`; and of `--max-code-size`: `8MB`, `500kB`, `4MiB`, `1000000`.

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

/// Bytes from a number with or without a unit.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "k" | "kb" => Some(1e3),
        "m" | "mb" => Some(1e6),
        "g" | "gb" => Some(1e9),
        "kib" => Some(1024.0),
        "mib" => Some(1048576.0),
        "gib" => Some(1073741824.0),
        _ => None,
    };
    match (number.parse::<f64>(), unit) {
        (Ok(number), Some(unit)) if number > 0.0 && number * unit < 1e15 => Ok((number * unit) as usize),
        _ => Err("expected a number of bytes such as `8MB`, `500kB`, `4MiB` or `1000000`".to_string()),
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
    use super::{joined, parse, parse_bytes};

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
    fn bytes_have_units() {
        for (text, bytes) in
            [("8MB", 8_000_000), ("1.5k", 1500), ("4MiB", 4 << 20), ("700", 700), ("2 gb", 2_000_000_000)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MB", "0", "-1", "8 apples", "1e9", "99999999GB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
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
