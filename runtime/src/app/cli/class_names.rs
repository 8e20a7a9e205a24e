//! Names of classes instead of those in the model.

use std::path::Path;

use serde_json::Value;

use crate::app::coco;
use crate::app::failure::Failure;

/// Reads the value of `--class-names` for a model of `classes` classes: `coco`, a file, or the names themselves.
///
/// # Errors
/// [`Failure::Usage`] when the names cannot be read or are not as many as the classes.
pub(super) fn read(text: &str, classes: usize) -> Result<Vec<String>, Failure> {
    let failed = |message: String| Failure::Usage(format!("--class-names {text}: {message}"));
    let names: Vec<String> = if text == "coco" {
        coco::NAMES.map(str::to_owned).to_vec()
    } else if text.contains(',') && !Path::new(text).exists() {
        text.split(',').map(|name| name.trim().to_owned()).collect()
    } else {
        let contents = std::fs::read_to_string(text).map_err(|error| failed(error.to_string()))?;
        let json = Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if json { from_json(&contents).map_err(failed)? } else { from_lines(&contents) }
    };
    if names.len() == classes {
        return Ok(names);
    }
    Err(failed(format!("{} names for a model of {classes} classes", names.len())))
}

fn from_lines(contents: &str) -> Vec<String> {
    contents.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A list of names, or an object from ids to names.
fn from_json(contents: &str) -> Result<Vec<String>, String> {
    from_value(serde_json::from_str(contents).map_err(|error| error.to_string())?)
}

/// The same of JSON that is read already.
pub(super) fn from_value(value: Value) -> Result<Vec<String>, String> {
    let expected = || "expected a list of names, or an object from the ids 0, 1, ... to names".to_owned();
    let values: Vec<Value> = match value {
        Value::Array(list) => list,
        Value::Object(by_id) => {
            let in_order = (0..by_id.len()).map(|id| by_id.get(&id.to_string()).cloned());
            in_order.collect::<Option<_>>().ok_or_else(expected)?
        }
        _ => return Err(expected()),
    };
    values.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(expected)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lists_and_objects() {
        let names = |contents| from_json(contents).map_err(|error| error.len());
        assert_eq!(names(r#"["a", "b"]"#), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(r#"{"1": "b", "0": "a"}"#), Ok(vec!["a".to_owned(), "b".to_owned()]));
        for bad in [r#"{"1": "b"}"#, r#"[1]"#, "3", "{"] {
            assert!(names(bad).is_err(), "{bad}");
        }
        assert_eq!(from_lines("a\r\n b c \n\n"), ["a", "b c"]);
        assert_eq!(read("coco", 80).unwrap().len(), 80);
        assert_eq!(read("x, y,z", 3).unwrap(), ["x", "y", "z"]);
        assert!(matches!(read("x,y", 3), Err(Failure::Usage(text)) if text.contains("2 names for a model of 3")));
    }
}
