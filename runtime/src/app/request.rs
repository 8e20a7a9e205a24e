//! What a line of input asks for.

use std::borrow::Cow;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::Value;

use super::source::{Limits, Picture, PictureError};

/// Longest path of Linux; what is longer is taken for base64.
const LONGEST_PATH: usize = 4096;

/// A picture to look at, and what the asker calls it.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Whatever the asker gave as `id`.
    pub id: Option<Value>,
    image: Result<Image, String>,
}

#[derive(Debug, PartialEq)]
enum Image {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Request {
    /// Reads a line: a path, a JSON string with a path, or an object with `image` and maybe `id`.
    pub fn parse(line: &[u8]) -> Self {
        let without_id = |image| Self { id: None, image };
        match line.trim_ascii().first() {
            None => without_id(Err("the line is empty, expected a path or a JSON object".into())),
            Some(b'{' | b'"') => match serde_json::from_slice(line) {
                Ok(Value::String(image)) => without_id(image_of(&image)),
                Ok(Value::Object(mut fields)) => {
                    let image = match fields.get("image") {
                        Some(Value::String(image)) => image_of(image),
                        Some(_) => Err("`image` must be a string: a path, a data: URI, or base64".into()),
                        None => Err("the object has no `image`: a path, a data: URI, or base64".into()),
                    };
                    Self { id: fields.remove("id"), image }
                }
                Ok(_) => unreachable!("JSON that starts so is a string or an object"),
                Err(error) => without_id(Err(format!("not JSON: {error}"))),
            },
            Some(_) => without_id(Ok(Image::File(path_of(line)))),
        }
    }

    /// The path of the picture, when it has one.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        match &self.image {
            Ok(Image::File(path)) => Some(path.to_string_lossy()),
            _ => None,
        }
    }

    /// The picture.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn open(self) -> Result<Picture, String> {
        let limits = Limits::default();
        let picture = match self.image? {
            Image::File(path) => Picture::open(&path, &limits),
            Image::Bytes(bytes) => Picture::decode(&bytes, &limits),
        };
        picture.map_err(|error| match error {
            PictureError::Io(error) => format!("cannot read the image: {error}"),
            other => other.to_string(),
        })
    }
}

/// Paths need not be UTF-8.
#[cfg(unix)]
fn path_of(line: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(line))
}

#[cfg(not(unix))]
fn path_of(line: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(line).into_owned())
}

/// The bytes of a picture in a data: URI or in base64; never those of a file.
pub fn embedded(text: &str) -> Option<Vec<u8>> {
    let is_uri = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if is_uri { text.split_once(";base64,").and_then(|(_, encoded)| decode(encoded)) } else { decode(text) }
}

/// A data: URI, the path of a file that is there, or base64 that decodes; anything else is a path.
fn image_of(text: &str) -> Result<Image, String> {
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        let bytes = embedded(text).ok_or("the data: URI holds no base64")?;
        return Ok(Image::Bytes(bytes));
    }
    let path = PathBuf::from(text);
    if text.len() <= LONGEST_PATH && path.exists() {
        return Ok(Image::File(path));
    }
    match decode(text) {
        Some(bytes) if image::guess_format(&bytes).is_ok() => Ok(Image::Bytes(bytes)),
        _ if text.len() > LONGEST_PATH => Err("the image is no path, and not an image in base64".into()),
        _ => Ok(Image::File(path)),
    }
}

/// Decodes base64, with or without padding and line breaks, in either alphabet.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: Cow<'_, str> = if text.contains(char::is_whitespace) {
        text.split_whitespace().collect::<String>().into()
    } else {
        text.into()
    };
    [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE].into_iter().find_map(|alphabet| alphabet.decode(text.as_ref()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00";

    fn bytes(line: &str) -> Result<Image, String> {
        Request::parse(line.as_bytes()).image
    }

    #[test]
    fn lines_are_paths_or_objects() {
        assert_eq!(bytes("a b.jpg"), Ok(Image::File("a b.jpg".into())));
        assert_eq!(bytes(r#""a \"b\".jpg""#), Ok(Image::File("a \"b\".jpg".into())));
        assert_eq!(bytes(r#"{"image": "c.jpg"}"#), Ok(Image::File("c.jpg".into())));
        let request = Request::parse(br#" {"id": [1, "x"], "image": 3}"#);
        assert_eq!(request.id, Some(serde_json::json!([1, "x"])));
        assert!(request.open().unwrap_err().contains("must be a string"));
        for (line, message) in [("", "empty"), ("{\"image\"", "not JSON"), ("{}", "no `image`")] {
            assert!(bytes(line).unwrap_err().contains(message), "{line}");
        }
    }

    #[test]
    fn pictures_come_in_base64_of_any_kind() {
        let whole = STANDARD.encode(GIF);
        let (start, end) = whole.split_at(6);
        for text in [
            whole.clone(),
            whole.trim_end_matches('=').to_owned(),
            format!("{start}\\n{end}"),
            format!("data:image/gif;base64,{whole}"),
            format!("DATA:;base64,{whole}"),
        ] {
            assert_eq!(bytes(&format!(r#"{{"image": "{text}"}}"#)), Ok(Image::Bytes(GIF.into())), "{text}");
        }
        assert_eq!(bytes(r#"{"image": "AAAA"}"#), Ok(Image::File("AAAA".into())));
        assert!(bytes(r#"{"image": "data:,x"}"#).is_err());
        let long = "A".repeat(LONGEST_PATH + 4);
        assert!(bytes(&format!(r#"{{"image": "{long}"}}"#)).unwrap_err().contains("base64"));
    }
}
