//! Pictures with marked objects: YOLO's `data.yaml` with text files, or COCO's JSON with a folder of pictures.

mod coco;
mod yolo;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Truth;

/// A data set, its classes being those of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// The pictures, in the order in which they are evaluated.
    pub samples: Vec<Sample>,
    /// For every class of the model its id in result files; `None` for one that the data set does not know.
    pub category_ids: Vec<Option<i64>>,
    /// What is odd about it, one line each.
    pub warnings: Vec<String>,
}

/// A picture and what is marked in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The image file.
    pub path: PathBuf,
    /// Its name in result files.
    pub id: ImageId,
    /// What is marked.
    pub truths: Vec<Truth>,
    /// Whether boxes are shares of the picture's width and height instead of pixels.
    pub relative: bool,
}

impl Sample {
    /// The marked objects in pixels of a picture of this size.
    pub fn truths_in(&self, width: usize, height: usize) -> Vec<Truth> {
        if !self.relative {
            return self.truths.clone();
        }
        let (width, height) = (width as f64, height as f64);
        let scaled = |truth: &Truth| {
            let [x, y, w, h] = truth.xywh;
            let xywh = [x * width, y * height, w * width, h * height];
            Truth { xywh, area: xywh[2] * xywh[3], ..truth.clone() }
        };
        self.truths.iter().map(scaled).collect()
    }
}

/// What a result file calls a picture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageId {
    /// A number.
    Number(i64),
    /// A file name without its extension that is no number.
    Name(String),
}

impl ImageId {
    /// As YOLOv5's `val.py` makes it of a file name.
    pub fn of_file(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stem.parse().map_or(Self::Name(stem), Self::Number)
    }

    /// The id as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Name(name) => name.as_str().into(),
        }
    }
}

impl Dataset {
    /// Opens a data set: a `.yaml`, a COCO `.json`, or a folder that holds one of them or `images/` and `labels/`.
    /// `images` is the folder of a COCO file's pictures, where it is not beside the file; `names` are the classes of
    /// the model.
    ///
    /// # Errors
    /// One line that names the file and says what is expected.
    pub fn open(data: &Path, images: Option<&Path>, names: &[String]) -> Result<Self, String> {
        let located = |error: String| format!("{}: {error}", data.display());
        if data.is_dir() {
            return open_folder(data, images, names);
        }
        match extension(data).as_str() {
            "yaml" | "yml" => yolo::open_yaml(data, names),
            "json" => coco::open(data, images, names),
            _ if !data.exists() => Err(located("no such file or folder".into())),
            _ => Err(located("expected a data.yaml, a COCO .json, or a folder with one of them".into())),
        }
    }
}

fn open_folder(folder: &Path, images: Option<&Path>, names: &[String]) -> Result<Dataset, String> {
    let files = |wanted: &[&str]| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<_> = entries.filter(|path| wanted.contains(&extension(path).as_str())).collect();
        found.sort();
        found
    };
    let choose = |found: Vec<PathBuf>| match &found[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        many => {
            let names: Vec<_> = many.iter().map(|path| path.display().to_string()).collect();
            Err(format!("{}: which of {}? Pass one of them with --data", folder.display(), names.join(", ")))
        }
    };
    if let Some(yaml) = choose(files(&["yaml", "yml"]))? {
        return yolo::open_yaml(&yaml, names);
    }
    if folder.join("labels").is_dir() {
        return yolo::open_folder(folder, names);
    }
    match choose(files(&["json"]))? {
        Some(json) => coco::open(&json, images, names),
        None => Err(format!(
            "{}: no data set there; expected a data.yaml, a COCO .json, or folders images/ and labels/",
            folder.display()
        )),
    }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// For every category of a data set, the class of the model with its name.
///
/// # Errors
/// When a name is none of the model's, which gives the first few that are not.
fn classes_by_name(categories: &[String], names: &[String]) -> Result<Vec<usize>, String> {
    let same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
    let classes = categories.iter().map(|category| names.iter().position(|name| same(category, name)));
    let classes: Vec<Option<usize>> = classes.collect();
    let unknown = categories.iter().zip(&classes).filter(|(_, class)| class.is_none());
    let unknown: Vec<String> = unknown.map(|(category, _)| format!("{category:?}")).collect();
    if unknown.is_empty() {
        return Ok(classes.into_iter().flatten().collect());
    }
    if categories.len() == names.len() || names.is_empty() {
        // Other words for the same classes, or a model without names: the order decides.
        return Ok((0..categories.len()).collect());
    }
    let more = if unknown.len() > 3 { ", ..." } else { "" };
    Err(format!(
        "the data set has classes that the model does not: {}{more}; the model has {} classes: {}",
        unknown.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        names.len(),
        names.iter().take(5).cloned().collect::<Vec<_>>().join(", ") + if names.len() > 5 { ", ..." } else { "" }
    ))
}
