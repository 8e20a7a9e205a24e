//! COCO's JSON: `images`, `annotations`, `categories`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Dataset, ImageId, Sample, classes_by_name};
use crate::app::eval::Truth;

/// Opens a file of annotations.
pub(super) fn open(json: &Path, images: Option<&Path>, names: &[String]) -> Result<Dataset, String> {
    let located = |error: String| format!("{}: {error}", json.display());
    let text = std::fs::read(json).map_err(|error| located(error.to_string()))?;
    let root: Value = serde_json::from_slice(&text).map_err(|error| located(format!("not JSON: {error}")))?;
    drop(text);
    let mut dataset = read(&root, names).map_err(located)?;
    let folder = match images {
        Some(folder) => folder.to_owned(),
        None => find_folder(json, &dataset.samples[0].path).ok_or_else(|| {
            located(format!("no folder beside it has {}; pass it with --images", dataset.samples[0].path.display()))
        })?,
    };
    dataset.samples.iter_mut().for_each(|sample| sample.path = folder.join(&sample.path));
    Ok(dataset)
}

/// Where the pictures are: beside the file, or in a folder whose name says so.
fn find_folder(json: &Path, first: &Path) -> Option<PathBuf> {
    let here = json.parent()?;
    let stem = json.file_stem()?.to_string_lossy().into_owned();
    let split = stem.strip_prefix("instances_").unwrap_or(&stem);
    let folders = ["", split, "images", "val", "../images", "../val"].map(PathBuf::from);
    let nested = [format!("images/{split}"), format!("../{split}"), format!("../images/{split}")].map(PathBuf::from);
    folders.into_iter().chain(nested).map(|folder| here.join(folder)).find(|folder| folder.join(first).is_file())
}

/// The data set, the paths of its samples being file names only.
fn read(root: &Value, names: &[String]) -> Result<Dataset, String> {
    let list = |key: &str| {
        let list = root[key].as_array().filter(|list| !list.is_empty());
        list.ok_or_else(|| format!("no list `{key}` with something in it; expected a COCO file of annotations"))
    };
    let mut categories: Vec<(i64, String)> = (list("categories")?.iter())
        .map(|c| Some((c["id"].as_i64()?, c["name"].as_str()?.to_owned())))
        .collect::<Option<_>>()
        .ok_or("a category without `id` and `name`")?;
    categories.sort();
    let category_names: Vec<String> = categories.iter().map(|c| c.1.clone()).collect();
    let classes = classes_by_name(&category_names, names)?;
    let class_of: BTreeMap<i64, usize> = categories.iter().zip(&classes).map(|(c, class)| (c.0, *class)).collect();
    let count = classes.iter().max().map_or(0, |last| last + 1).max(names.len());
    let mut category_ids = vec![None; count];
    categories.iter().zip(&classes).for_each(|(c, class)| category_ids[*class] = Some(c.0));

    let mut samples: BTreeMap<i64, Sample> = BTreeMap::new();
    for image in list("images")? {
        let (Some(id), Some(name)) = (image["id"].as_i64(), image["file_name"].as_str()) else {
            return Err("an image without a whole `id` and a `file_name`".into());
        };
        let sample = Sample { path: name.into(), id: ImageId::Number(id), truths: Vec::new(), relative: false };
        samples.insert(id, sample);
    }
    for annotation in list("annotations")? {
        let truth = truth(annotation, &class_of)?;
        let image = annotation["image_id"].as_i64().and_then(|id| samples.get_mut(&id));
        let Some(sample) = image else {
            return Err(format!("annotation {} is of no image in the file", annotation["id"]));
        };
        sample.truths.push(truth);
    }
    Ok(Dataset { samples: samples.into_values().collect(), category_ids, warnings: Vec::new() })
}

fn truth(annotation: &Value, class_of: &BTreeMap<i64, usize>) -> Result<Truth, String> {
    let faulty = |what: &str| format!("annotation {}: {what}", annotation["id"]);
    let category = annotation["category_id"].as_i64().and_then(|id| class_of.get(&id));
    let class_id = *category.ok_or_else(|| faulty("its category is none of the file's"))?;
    let numbers = annotation["bbox"].as_array().map(|b| b.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
    let xywh: [f64; 4] = numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| faulty("`bbox` is not four numbers: left, top, width, height"))?;
    let area = annotation["area"].as_f64().unwrap_or(xywh[2] * xywh[3]);
    Ok(Truth { class_id, xywh, area, crowd: annotation["iscrowd"].as_i64() == Some(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(annotation: Value) -> Value {
        json!({
            "images": [{ "id": 9, "file_name": "b.jpg" }, { "id": 2, "file_name": "a.jpg" }],
            "categories": [{ "id": 6, "name": "bus" }, { "id": 1, "name": "person" }],
            "annotations": [annotation],
        })
    }

    #[test]
    fn categories_are_found_by_name_and_images_sorted_by_id() {
        let names = ["person", "tie", "Bus"].map(String::from);
        let annotation = json!({ "id": 1, "image_id": 9, "category_id": 6, "bbox": [1, 2, 3.5, 4], "iscrowd": 1 });
        let dataset = read(&file(annotation), &names).unwrap();
        assert_eq!(dataset.category_ids, [Some(1), None, Some(6)]);
        assert_eq!(dataset.samples[0].path, Path::new("a.jpg"));
        let truth = Truth { class_id: 2, xywh: [1.0, 2.0, 3.5, 4.0], area: 14.0, crowd: true };
        assert_eq!(dataset.samples[1].truths, [truth]);
    }

    #[test]
    fn faults_are_named() {
        let fault = |annotation| read(&file(annotation), &["person", "bus"].map(String::from)).unwrap_err();
        assert_eq!(fault(json!({ "id": 7, "image_id": 9 })), "annotation 7: its category is none of the file's");
        assert!(fault(json!({ "id": 7, "image_id": 9, "category_id": 1, "bbox": [1, 2] })).contains("four numbers"));
        let stray = json!({ "id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4] });
        assert_eq!(fault(stray), "annotation 7 is of no image in the file");
        let sound = json!({ "id": 7, "image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4] });
        let error = read(&file(sound), &["cat", "dog", "cow"].map(String::from)).unwrap_err();
        assert!(error.contains("classes that the model does not: \"person\", \"bus\""), "{error}");
        assert!(read(&json!({}), &[]).unwrap_err().contains("categories"));
    }
}
