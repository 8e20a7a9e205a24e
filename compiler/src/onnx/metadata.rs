//! What a model says about itself: class names and stride, as detector exporters write them.
//!
//! `names` is the text of a Python dict (`{0: 'person', 1: "dog"}`), of a list or tuple of strings, or JSON. Text that
//! is none of these, or whose indices are not 0, 1, 2, ..., is not an error, since a network runs without names: it
//! stays in the properties, and there are no class names. `stride` is handled alike.

use super::proto::StringStringEntryProto;
use crate::ir::Metadata;
use std::collections::BTreeMap;

/// Splits the metadata entries into what is understood and the rest.
pub(super) fn read(entries: &[StringStringEntryProto]) -> Metadata {
    let mut metadata = Metadata::default();
    for entry in entries {
        let (key, value) = (entry.key(), entry.value());
        if key == "names"
            && let Some(names) = class_names(value)
        {
            metadata.class_names = names;
        } else if key == "stride"
            && let Some(stride) = largest_stride(value)
        {
            metadata.stride = Some(stride);
        } else {
            metadata.properties.insert(key.to_owned(), value.to_owned());
        }
    }
    metadata
}

/// The largest number of `32`, `32.0` or `[8, 16, 32]`.
fn largest_stride(text: &str) -> Option<usize> {
    let mut largest = None;
    for number in text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']).split(',') {
        let number: f64 = number.trim().parse().ok()?;
        if number.fract() != 0.0 || !(1.0..=65536.0).contains(&number) {
            return None;
        }
        largest = largest.max(Some(number as usize));
    }
    largest
}

/// Class names by index.
fn class_names(text: &str) -> Option<Vec<String>> {
    let mut scanner = Scanner { rest: text.trim() };
    let names = match scanner.next()? {
        '{' => scanner.dict()?,
        '[' => scanner.list(']')?,
        '(' => scanner.list(')')?,
        _ => return None,
    };
    scanner.rest.trim().is_empty().then_some(names)
}

struct Scanner<'t> {
    rest: &'t str,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Skips white space and takes `c` if it comes next.
    fn take(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let found = self.rest.strip_prefix(c);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// The entries of a dict after its `{`.
    fn dict(&mut self) -> Option<Vec<String>> {
        let mut names = BTreeMap::new();
        while !self.take('}') {
            let key = self.index()?;
            if !self.take(':') || names.insert(key, self.string()?).is_some() {
                return None;
            }
            if !self.take(',') {
                if !self.take('}') {
                    return None;
                }
                break;
            }
        }
        let complete = names.keys().copied().eq(0..names.len());
        complete.then(|| names.into_values().collect())
    }

    /// The items of a list after its opening bracket.
    fn list(&mut self, close: char) -> Option<Vec<String>> {
        let mut names = Vec::new();
        while !self.take(close) {
            names.push(self.string()?);
            if !self.take(',') {
                if !self.take(close) {
                    return None;
                }
                break;
            }
        }
        Some(names)
    }

    /// A number, quoted in JSON.
    fn index(&mut self) -> Option<usize> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with(['\'', '"']) {
            return self.string()?.parse().ok();
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.parse().ok()
    }

    /// A quoted string with Python's escapes.
    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let quote = self.next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut text = String::new();
        loop {
            match self.next()? {
                c if c == quote => return Some(text),
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'x' => text.push(self.code_point(2)?),
                    'u' => text.push(self.code_point(4)?),
                    'U' => text.push(self.code_point(8)?),
                    c @ ('\\' | '\'' | '"' | '/') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
    }

    fn code_point(&mut self, digits: usize) -> Option<char> {
        let code = u32::from_str_radix(self.rest.get(..digits)?, 16).ok()?;
        self.rest = &self.rest[digits..];
        char::from_u32(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_every_form() {
        let expected = Some(vec!["person".to_owned(), "o'clock \"x\"".to_owned(), "é\\d".to_owned()]);
        for text in [
            r#"{0: 'person', 1: 'o\'clock "x"', 2: 'é\d'}"#,
            r#"{0: 'person', 2: '\xe9\\d', 1: "o'clock \"x\"", }"#,
            r#"['person', "o'clock \"x\"", '\u00e9\\d']"#,
            r#" {"0":"person","1":"o'clock \"x\"","2":"\u00e9\\d"} "#,
        ] {
            assert_eq!(class_names(text), expected, "{text}");
        }
        for text in [
            "",
            "{",
            "{0: 'a'",
            "{0: 'a', 2: 'b'}",
            "{0 'a'}",
            "['a' 'b']",
            "{0: 'a'} x",
            r"['\x9']",
            "['a",
            "{-1: 'a'}",
        ] {
            assert_eq!(class_names(text), None, "{text}");
        }
        assert_eq!(class_names("[]"), Some(vec![]));
    }

    #[test]
    fn strides() {
        for (text, stride) in
            [("32", Some(32)), (" 64.0", Some(64)), ("[8, 16, 32]", Some(32)), ("x", None), ("0.5", None), ("", None)]
        {
            assert_eq!(largest_stride(text), stride, "{text}");
        }
    }

    #[test]
    fn malformed_names_stay_in_the_properties() {
        let entry = |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
        let metadata = read(&[entry("names", "{0: person}"), entry("stride", "32"), entry("author", "x")]);
        assert_eq!(metadata.class_names, Vec::<String>::new());
        assert_eq!(metadata.stride, Some(32));
        assert_eq!(metadata.properties["names"], "{0: person}");
        assert_eq!(metadata.properties["author"], "x");
    }
}
