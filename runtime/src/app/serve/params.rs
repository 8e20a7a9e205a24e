//! What a request says about the objects that it wants.

use serde_json::{Number, Value};

use super::error::ApiError;
use super::settings::Limits;
use crate::detect::{Params, Resize};

/// Names that are understood, in the query, as form fields and in JSON.
pub const NAMES: [&str; 8] =
    ["conf_thres", "iou_thres", "max_det", "classes", "agnostic_nms", "multi_label", "resize", "format"];

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `boxes`, `scores`, `labels` and `class_ids`, a list per image of each.
    #[default]
    Columns,
    /// An object per box: `xmin`, `ymin`, `xmax`, `ymax`, `confidence`, `class`, `name`.
    Records,
}

/// What a request changes of an endpoint's parameters; later words win.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<'a> {
    /// The parameters so far.
    pub params: Params,
    /// The form of the answer so far.
    pub format: Format,
    class_names: &'a [String],
    classes: usize,
    limits: &'a Limits,
}

impl<'a> Wanted<'a> {
    /// The defaults of an endpoint of a model with `classes` classes.
    pub fn new(defaults: &Params, class_names: &'a [String], classes: usize, limits: &'a Limits) -> Self {
        Self { params: defaults.clone(), format: Format::default(), class_names, classes, limits }
    }

    /// Reads the query of a request.
    ///
    /// # Errors
    /// [`ApiError::invalid`] for names that are not known and values out of range.
    pub fn query(&mut self, query: &str) -> Result<(), ApiError> {
        self.texts(form_urlencoded::parse(query.as_bytes()))
    }

    /// Reads pairs of name and text; `classes` may come several times.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn texts(
        &mut self,
        pairs: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    ) -> Result<(), ApiError> {
        let mut classes: Option<Vec<Value>> = None;
        for (name, text) in pairs {
            let text = text.as_ref().trim();
            match name.as_ref().replace('-', "_").as_str() {
                "classes" => {
                    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
                    classes.get_or_insert_default().extend(ids.map(|id| Value::String(id.to_owned())));
                }
                name => {
                    let whole = text.parse::<u64>().ok().map(Value::from);
                    let number = whole.or_else(|| text.parse().ok().and_then(Number::from_f64).map(Value::Number));
                    self.value(name, &number.unwrap_or_else(|| Value::String(text.to_owned())))?;
                }
            }
        }
        match classes {
            Some(classes) => self.value("classes", &Value::Array(classes)),
            None => Ok(()),
        }
    }

    /// Reads one value of JSON. `null` leaves the default.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn value(&mut self, name: &str, value: &Value) -> Result<(), ApiError> {
        let expected = |what: &str| Err(ApiError::invalid(format!("`{name}` is {}: expected {what}", brief(value))));
        if value.is_null() && NAMES.contains(&name) {
            return Ok(());
        }
        match name {
            "conf_thres" | "iou_thres" => {
                let Some(number) = value.as_f64().filter(|number| (0.0..=1.0).contains(number)) else {
                    return expected("a number from 0 to 1");
                };
                let field = if name == "conf_thres" { &mut self.params.conf_thres } else { &mut self.params.iou_thres };
                *field = number as f32;
            }
            "max_det" => {
                let most = self.limits.max_det;
                match value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=most).contains(n)) {
                    Some(n) => self.params.max_det = n,
                    None => return expected(&format!("a whole number from 1 to {most}")),
                }
            }
            "agnostic_nms" => match truth(value) {
                Some(truth) => self.params.agnostic = truth,
                None => return expected("true or false"),
            },
            "multi_label" => match truth(value) {
                Some(truth) => self.params.multi_label = truth,
                None => return expected("true or false"),
            },
            "resize" => match value.as_str() {
                Some("letterbox") => self.params.resize = Resize::Letterbox,
                Some("stretch") => self.params.resize = Resize::Stretch,
                _ => return expected("`letterbox` or `stretch`"),
            },
            "format" => match value.as_str() {
                Some("columns" | "json") => self.format = Format::Columns,
                Some("records") => self.format = Format::Records,
                _ => return expected("`columns` or `records`"),
            },
            "classes" => {
                let ids = match value {
                    Value::Array(list) => list.iter().map(|v| self.class(v)).collect::<Result<Vec<_>, _>>()?,
                    one => vec![self.class(one)?],
                };
                self.params.classes = (!ids.is_empty()).then_some(ids);
            }
            _ => {
                let message = format!("`{name}` is not known; known are {}", NAMES.join(", "));
                return Err(ApiError::invalid(message));
            }
        }
        Ok(())
    }

    /// A class by its number or name.
    fn class(&self, value: &Value) -> Result<usize, ApiError> {
        let named = value.as_str().and_then(|text| self.class_names.iter().position(|name| name == text));
        let number = || match value {
            Value::String(text) => text.parse::<usize>().ok(),
            other => other.as_u64().and_then(|n| usize::try_from(n).ok()),
        };
        named.or_else(|| number().filter(|id| *id < self.classes)).ok_or_else(|| {
            let last = self.classes - 1;
            let names = match self.class_names {
                [] => String::new(),
                [first, ..] => format!(", or their names, such as `{first}`"),
            };
            ApiError::invalid(format!("`classes` holds {}: expected ids from 0 to {last}{names}", brief(value)))
        })
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_u64().filter(|n| *n < 2).map(|n| n == 1),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A value, short enough for a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<(Params, Format), String> {
        let names = ["person", "car"].map(str::to_owned);
        let limits = Limits::default();
        let mut wanted = Wanted::new(&Params::default(), &names, 2, &limits);
        wanted.query(text).map(|()| (wanted.params, wanted.format)).map_err(|error| error.message)
    }

    #[test]
    fn queries_change_what_they_name() {
        let defaults = Params::default();
        assert_eq!(query(""), Ok((defaults.clone(), Format::Columns)));
        let (params, format) = query(
            "conf_thres=0.5&iou-thres=.6&classes=car,0&classes=1&max_det=7&agnostic_nms=true&multi_label=1&format=records",
        )
        .unwrap();
        let expected = Params {
            conf_thres: 0.5,
            iou_thres: 0.6,
            max_det: 7,
            classes: Some(vec![1, 0, 1]),
            agnostic: true,
            multi_label: true,
            ..defaults
        };
        assert_eq!((params, format), (expected, Format::Records));
        assert_eq!(query("resize=stretch").unwrap().0.resize, Resize::Stretch);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, message) in [
            ("conf_thres=1.5", "`conf_thres` is 1.5: expected a number from 0 to 1"),
            ("conf_thres=nan", "`conf_thres` is \"nan\""),
            ("max_det=0", "`max_det` is 0: expected a whole number from 1 to 10000"),
            ("classes=dog", "`classes` holds \"dog\": expected ids from 0 to 1, or their names, such as `person`"),
            ("classes=-1", "`classes` holds \"-1\""),
            ("agnostic_nms=maybe", "expected true or false"),
            ("format=xml", "`columns` or `records`"),
            ("conf=0.5", "`conf` is not known; known are conf_thres, "),
        ] {
            let said = query(text).unwrap_err();
            assert!(said.contains(message), "{text}: {said}");
        }
    }
}
