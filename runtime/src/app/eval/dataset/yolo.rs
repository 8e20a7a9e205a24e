//! YOLO's form: a `data.yaml`, pictures below `images/`, and below `labels/` a text file for each.

use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use super::{Dataset, ImageId, Sample, classes_by_name};
use crate::app::eval::Truth;
use crate::app::source::Sources;

/// Opens the validation pictures of a `data.yaml`.
pub(super) fn open_yaml(yaml: &Path, names: &[String]) -> Result<Dataset, String> {
    let located = |error: String| format!("{}: {error}", yaml.display());
    let text = std::fs::read_to_string(yaml).map_err(|error| located(error.to_string()))?;
    let documents = YamlLoader::load_from_str(&text).map_err(|error| located(format!("not YAML: {error}")))?;
    let root = documents.first().ok_or_else(|| located("the file is empty".into()))?;
    let categories = category_names(root).map_err(located)?;
    let classes = classes_by_name(&categories, names).map_err(located)?;
    let sources = match &root["val"] {
        Yaml::String(path) => vec![path.clone()],
        Yaml::Array(paths) => paths.iter().filter_map(|p| p.as_str().map(String::from)).collect(),
        _ => return Err(located("no `val`: expected the folder or list of the validation pictures".into())),
    };
    let bases = bases(yaml, root["path"].as_str());
    let found = sources.iter().map(|source| {
        let tried: Vec<PathBuf> = bases.iter().map(|base| base.join(source)).collect();
        tried.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
            let tried: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
            located(format!("`val: {source}` is not there; looked for {}", tried.join(" and ")))
        })
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let mut dataset = read(&found, &classes)?;
    dataset.category_ids = vec![None; classes.iter().max().map_or(0, |last| last + 1).max(names.len())];
    classes.iter().enumerate().for_each(|(category, class)| dataset.category_ids[*class] = Some(category as i64));
    Ok(dataset)
}

/// Opens a folder with `images/` and `labels/`, or their `val/`; its classes are the model's.
pub(super) fn open_folder(folder: &Path, names: &[String]) -> Result<Dataset, String> {
    let images = folder.join("images");
    let val = images.join("val");
    let source = [val, images].into_iter().find(|path| path.is_dir());
    let source = source.ok_or_else(|| format!("{}: there is labels/ but no images/", folder.display()))?;
    let classes: Vec<usize> = (0..names.len()).collect();
    let mut dataset = read(&[source], &classes)?;
    dataset.category_ids = classes.iter().map(|class| Some(*class as i64)).collect();
    Ok(dataset)
}

/// `names` as a list, or as a map from ids.
fn category_names(root: &Yaml) -> Result<Vec<String>, String> {
    let text = |value: &Yaml| match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(value) => Some(value.to_string()),
        _ => None,
    };
    let names = match &root["names"] {
        Yaml::Array(names) => names.iter().map(text).collect::<Option<Vec<_>>>(),
        Yaml::Hash(names) => {
            let entries = names.iter().map(|(id, name)| Some((id.as_i64()?, text(name)?)));
            entries.collect::<Option<Vec<_>>>().and_then(|mut entries| {
                entries.sort();
                let in_order = entries.iter().enumerate().all(|(at, entry)| entry.0 == at as i64);
                in_order.then(|| entries.into_iter().map(|entry| entry.1).collect())
            })
        }
        _ => None,
    };
    names.ok_or_else(|| "no `names`: expected a list of class names, or a map from the ids 0, 1, 2, ...".into())
}

/// Folders from which the paths of a file may count: its `path` from the file's folder, from here, and from beside
/// the file's folder, where YOLOv5's own data files have it.
fn bases(yaml: &Path, path: Option<&str>) -> Vec<PathBuf> {
    let here = yaml.parent().unwrap_or(Path::new("")).to_owned();
    match path {
        None | Some("") => vec![here, PathBuf::new()],
        Some(path) if Path::new(path).is_absolute() => vec![path.into()],
        Some(path) => vec![here.join(path), path.into(), here.join("..").join(path)],
    }
}

fn read(sources: &[PathBuf], classes: &[usize]) -> Result<Dataset, String> {
    let expanded = Sources::expand(sources.iter().map(PathBuf::as_path));
    if let Some(problem) = expanded.problems.first() {
        return Err(problem.clone());
    }
    let mut dataset = Dataset::default();
    let mut unlabelled = 0;
    for path in expanded.images {
        let labels = label_path(&path);
        let truths = match std::fs::read_to_string(&labels) {
            Ok(text) => parse(&text, classes).map_err(|error| format!("{}: {error}", labels.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                unlabelled += 1;
                Vec::new()
            }
            Err(error) => return Err(format!("{}: {error}", labels.display())),
        };
        dataset.samples.push(Sample { id: ImageId::of_file(&path), path, truths, relative: true });
    }
    if unlabelled == dataset.samples.len() {
        let example = dataset.samples.first().map(|sample| label_path(&sample.path).display().to_string());
        return Err(format!("no picture has labels; expected {} and so on", example.unwrap_or_default()));
    }
    if unlabelled > 0 {
        let line = format!("{unlabelled} of {} pictures have no labels: nothing is in them", dataset.samples.len());
        dataset.warnings.push(line);
    }
    Ok(dataset)
}

/// The last folder named `images` becomes `labels`, the extension `txt`.
fn label_path(image: &Path) -> PathBuf {
    let parts: Vec<_> = image.components().collect();
    let at = parts.iter().rposition(|part| part.as_os_str() == "images");
    let renamed = parts.iter().enumerate().map(|(index, part)| match at == Some(index) {
        true => std::ffi::OsStr::new("labels"),
        false => part.as_os_str(),
    });
    renamed.collect::<PathBuf>().with_extension("txt")
}

/// Lines `class x y w h`, the centre and size as shares of the picture, or `class x y x y x y ...`, an outline.
fn parse(text: &str, classes: &[usize]) -> Result<Vec<Truth>, String> {
    let mut truths: Vec<Truth> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let faulty = |what: String| format!("line {}: {what}", index + 1);
        let numbers: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let numbers = numbers.filter(|n| n.iter().all(|v| v.is_finite()));
        let (category, rest) = match numbers.as_deref() {
            Some([category, rest @ ..]) if rest.len() == 4 || rest.len() >= 6 && rest.len().is_multiple_of(2) => {
                (*category, rest)
            }
            _ => return Err(faulty("expected `class x y w h`, or an outline `class x1 y1 x2 y2 x3 y3 ...`".into())),
        };
        let class_id = *classes
            .get(category as usize)
            .filter(|_| category >= 0.0)
            .ok_or_else(|| faulty(format!("class {category} is none of the {} of the data set", classes.len())))?;
        if let Some(outside) = rest.iter().find(|v| !(-0.01..=1.01).contains(*v)) {
            return Err(faulty(format!("{outside} is outside the picture; coordinates go from 0 to 1")));
        }
        let xywh = match *rest {
            [x, y, w, h] => [x - w / 2.0, y - h / 2.0, w, h],
            _ => {
                let extent = |axis: usize| {
                    let values = rest.iter().skip(axis).step_by(2);
                    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
                };
                let (x, y) = (extent(0), extent(1));
                [x.0, y.0, x.1 - x.0, y.1 - y.0]
            }
        };
        let truth = Truth { class_id, xywh, area: xywh[2] * xywh[3], crowd: false };
        if !truths.contains(&truth) {
            truths.push(truth);
        }
    }
    Ok(truths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_boxes_or_outlines() {
        let truths = parse("1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.1 0.2 0.6\n1 0.5 0.5 0.2 0.4\n", &[0, 5]).unwrap();
        assert_eq!(truths.len(), 2, "a repeated line counts once");
        assert_eq!((truths[0].class_id, truths[1].class_id), (5, 0));
        assert!((truths[0].xywh[0] - 0.4).abs() < 1e-12 && (truths[1].xywh[3] - 0.5).abs() < 1e-12);
        let fault = |text| parse(text, &[0]).unwrap_err();
        assert!(fault("0 0.5 0.5 0.2").starts_with("line 1: expected `class x y w h`"));
        assert!(fault("0 0.5 0.5 0.2 0.2\n3 0.5 0.5 0.1 0.1").starts_with("line 2: class 3 is none of the 1"));
        assert!(fault("-1 0.5 0.5 0.1 0.1").contains("class -1"));
        assert!(fault("0 320 240 100 100").contains("coordinates go from 0 to 1"));
        assert!(fault("person 0.5 0.5 0.1 0.1").contains("expected"));
    }

    #[test]
    fn names_are_a_list_or_a_map() {
        let names = |text: &str| category_names(&YamlLoader::load_from_str(text).unwrap()[0]);
        assert_eq!(names("names: [person, 'traffic light']").unwrap(), ["person", "traffic light"]);
        assert_eq!(names("names:\n  1: bus\n  0: person").unwrap(), ["person", "bus"]);
        assert!(names("names:\n  0: person\n  2: bus").is_err() && names("nc: 3").is_err());
    }

    #[test]
    fn labels_lie_beside_the_last_folder_of_images() {
        assert_eq!(label_path(Path::new("/d/images/val/images/a.b.jpg")), Path::new("/d/images/val/labels/a.b.txt"));
        assert_eq!(label_path(Path::new("pictures/a.jpg")), Path::new("pictures/a.txt"));
    }
}
