//! The files of an evaluation.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::app::eval::confusion::ConfusionMatrix;
use crate::app::eval::curves::{Curves, POINTS, mean, smooth};
use crate::app::eval::plot::{self, Axes, Line};
use crate::app::eval::table::{Table, general};
use crate::app::eval::{Found, IOU_THRESHOLDS, Sample, Summary};
use crate::app::failure::Failure;
use crate::app::files;
use crate::app::save::next_run;
use crate::engine::ModelSpec;

/// Curves of this many classes are told apart by colour and name; of more, by nothing.
const NAMED: usize = 20;

/// The folder of a run and what belongs into it.
pub(super) struct Saved {
    folder: PathBuf,
    /// Whether text files are written, and whether with scores.
    txt: Option<bool>,
    results: Vec<Value>,
}

impl Saved {
    /// Creates the folder.
    pub(super) fn create(project: &Path, name: &str, exist_ok: bool, txt: Option<bool>) -> Result<Self, Failure> {
        let folder = if exist_ok { project.join(name) } else { next_run(project, name)? };
        files::create_directory(&folder)?;
        if txt.is_some() {
            files::create_directory(&folder.join("labels"))?;
        }
        Ok(Self { folder, txt, results: Vec::new() })
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes in what was found in a picture.
    pub(super) fn add(
        &mut self,
        sample: &Sample,
        [width, height]: [usize; 2],
        found: &[Found],
        category_ids: &[Option<i64>],
    ) -> Result<(), Failure> {
        for object in found {
            if let Some(category) = category_ids.get(object.class_id).copied().flatten() {
                self.results.push(json!({
                    "image_id": sample.id.to_json(),
                    "category_id": category,
                    "bbox": object.xywh,
                    "score": object.score,
                }));
            }
        }
        let Some(scores) = self.txt else { return Ok(()) };
        let mut text = String::new();
        for object in found {
            let [x, y, w, h] = object.xywh;
            let (width, height) = (width as f64, height as f64);
            let shares = [(x + w / 2.0) / width, (y + h / 2.0) / height, w / width, h / height];
            let shares = shares.map(|share| general(share, 6)).join(" ");
            let score = if scores { format!(" {}", general(object.score, 6)) } else { String::new() };
            writeln!(text, "{} {shares}{score}", object.class_id).expect("writing to a string succeeds");
        }
        let name = sample.path.with_extension("txt");
        let path = self.folder.join("labels").join(name.file_name().unwrap_or_default());
        files::replace(&path, text.as_bytes())
    }

    /// Writes `MODEL_predictions.json`.
    pub(super) fn predictions(&self, source: &str) -> Result<(), Failure> {
        let stem = source.strip_suffix(".onnx").unwrap_or(source);
        let text = serde_json::to_string(&self.results).map_err(Failure::new)?;
        files::replace(&self.folder.join(format!("{stem}_predictions.json")), text.as_bytes())
    }

    /// Writes `PR_curve.png`, `P_curve.png`, `R_curve.png` and `F1_curve.png`.
    pub(super) fn curves(&self, table: &Table, names: &[String]) -> Result<(), Failure> {
        let figure = |file: &str, labels: [&str; 2], all: String, select: &dyn Fn(&Curves) -> Vec<f64>| {
            let title = format!("{}-{} Curve", labels[1], labels[0]);
            let [x, y] = labels.map(String::from);
            let axes = Axes { title, labels: [x, y], ends: [1.0, 1.0], counts: false };
            let mut lines: Vec<Line> = (table.rows.iter())
                .map(|row| Line {
                    name: (table.rows.len() <= NAMED).then(|| {
                        let ap = if file == "PR_curve.png" { format!(" {:.3}", row.ap.at[0]) } else { String::new() };
                        format!("{}{ap}", names[row.class_id])
                    }),
                    points: points(&select(&row.curves)),
                    main: false,
                    dots: false,
                })
                .collect();
            let mean = mean(table.rows.iter().map(|row| select(&row.curves)));
            lines.push(Line { name: Some(all), points: points(&mean), main: true, dots: false });
            let bytes = plot::lines(&axes, &lines).map_err(Failure::new)?;
            files::replace(&self.folder.join(file), &bytes)
        };
        let confidence = |values: Vec<f64>| {
            let smooth = smooth(&values, 0.05);
            let best = (0..smooth.len()).rev().max_by(|a, b| smooth[*a].total_cmp(&smooth[*b])).unwrap_or(0);
            let value = smooth.get(best).copied().unwrap_or(0.0);
            format!("all classes {value:.2} at {:.3}", best as f64 / (POINTS - 1) as f64)
        };
        let all = |select: &dyn Fn(&Curves) -> Vec<f64>| confidence(mean(table.rows.iter().map(|r| select(&r.curves))));
        let map = format!("all classes {:.3} mAP@0.5", table.means()[2]);
        figure("PR_curve.png", ["Recall", "Precision"], map, &|c| c.precision_at_recall.clone())?;
        figure("F1_curve.png", ["Confidence", "F1"], all(&Curves::f1), &Curves::f1)?;
        figure("P_curve.png", ["Confidence", "Precision"], all(&|c| c.precision.clone()), &|c| c.precision.clone())?;
        figure("R_curve.png", ["Confidence", "Recall"], all(&|c| c.recall.clone()), &|c| c.recall.clone())
    }

    /// Writes `confusion_matrix.png`.
    pub(super) fn confusion(&self, matrix: &ConfusionMatrix, names: &[String]) -> Result<(), Failure> {
        let bytes = plot::confusion(&matrix.normalised(), names).map_err(Failure::new)?;
        files::replace(&self.folder.join("confusion_matrix.png"), &bytes)
    }
}

fn points(curve: &[f64]) -> Vec<(f64, f64)> {
    curve.iter().enumerate().map(|(i, v)| (i as f64 / (POINTS - 1) as f64, *v)).collect()
}

/// Writes the figures of an evaluation as JSON.
pub(super) fn export<'a>(
    path: &Path,
    table: &Table,
    summary: &Summary,
    spec: &ModelSpec,
    name: impl Fn(usize) -> &'a str,
) -> Result<(), Failure> {
    let figures = |[precision, recall, map50, map]: [f64; 4]| json!({ "precision": precision, "recall": recall, "map50": map50, "map50_95": map });
    let classes = table.rows.iter().map(|row| {
        let mut value = figures(table.figures(row));
        value["class_id"] = row.class_id.into();
        value["name"] = name(row.class_id).into();
        value["instances"] = row.instances.into();
        value["ap"] = row.ap.at[..IOU_THRESHOLDS].into();
        value
    });
    let coco: Vec<f64> = summary.figures.iter().map(|figure| figure.1).collect();
    let value = json!({
        "model": spec.source,
        "model_sha256": spec.sha256,
        "images": table.images,
        "instances": table.instances(),
        "all": figures(table.means()),
        "coco": coco,
        "classes": classes.collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&value).map_err(Failure::new)?;
    files::replace(path, (text + "\n").as_bytes())
}
