//! The table that YOLOv5's `val.py` prints.

use super::Judged;
use super::average_precision::AveragePrecision;
use super::curves::{Curves, best_point};
use super::matching::{AREAS, ClassMatches, MAX_DETS};

/// One class that has marked objects.
#[derive(Clone, Debug)]
pub struct ClassRow {
    /// Class of the model.
    pub class_id: usize,
    /// Marked objects, crowds left out.
    pub instances: usize,
    /// Average precision at every threshold.
    pub ap: AveragePrecision,
    /// Precision and recall.
    pub curves: Curves,
}

/// What a table shows.
#[derive(Clone, Debug)]
pub struct Table {
    /// Pictures.
    pub images: usize,
    /// Classes of which an object is marked, by class.
    pub rows: Vec<ClassRow>,
    /// Point of the curves at which precision and recall are read.
    pub best: usize,
}

impl Table {
    /// Measures the classes that count.
    pub fn new(pictures: &[Judged], classes: &[usize]) -> Self {
        let row = |&class_id: &usize| {
            let matches = ClassMatches::new(pictures, class_id, AREAS[0]);
            let curves = Curves::new(&matches)?;
            let ap = AveragePrecision::new(&matches, MAX_DETS[2]);
            Some(ClassRow { class_id, instances: matches.instances, ap, curves })
        };
        let rows: Vec<ClassRow> = classes.iter().filter_map(row).collect();
        let curves: Vec<Curves> = rows.iter().map(|r| r.curves.clone()).collect();
        Self { images: pictures.len(), best: best_point(&curves), rows }
    }

    /// Mean over the classes of precision, recall, average precision at 0.5 and at 0.5 to 0.95; 0 without classes.
    pub fn means(&self) -> [f64; 4] {
        let figures: Vec<[f64; 4]> = self.rows.iter().map(|row| self.figures(row)).collect();
        [0, 1, 2, 3].map(|i| figures.iter().map(|f| f[i]).sum::<f64>() / figures.len().max(1) as f64)
    }

    /// Marked objects.
    pub fn instances(&self) -> usize {
        self.rows.iter().map(|r| r.instances).sum()
    }

    /// Precision, recall, average precision at 0.5 and at 0.5 to 0.95 of a class.
    pub fn figures(&self, row: &ClassRow) -> [f64; 4] {
        [row.curves.precision[self.best], row.curves.recall[self.best], row.ap.at[0], row.ap.mean()]
    }

    /// The heading.
    pub fn heading() -> String {
        let names = ["Images", "Instances", "P", "R", "mAP50", "mAP50-95"].map(|name| format!("{name:>11}"));
        format!("{:>22}{}", "Class", names.concat())
    }

    /// The line of all classes.
    pub fn all_line(&self) -> String {
        line("all", self.images, self.instances(), self.means())
    }

    /// The line of a class.
    pub fn class_line(&self, row: &ClassRow, name: &str) -> String {
        line(name, self.images, row.instances, self.figures(row))
    }
}

fn line(name: &str, images: usize, instances: usize, figures: [f64; 4]) -> String {
    let figures = figures.map(|v| format!("{:>11}", general(v, 3)));
    format!("{name:>22}{images:>11}{instances:>11}{}", figures.concat())
}

/// `value` as C's `%.{digits}g` prints it.
pub fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    trimmed(&format!("{value:.*}", (digits as i32 - 1 - exponent) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_printf() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (0.299_94, "0.3"),
            (0.123_456, "0.123"),
            (0.000_123_456, "0.000123"),
            (0.000_012_345_6, "1.23e-05"),
            (0.999_9, "1"),
            (123.456, "123"),
            (1234.0, "1.23e+03"),
        ] {
            assert_eq!(general(value, 3), expected);
        }
    }

    #[test]
    fn columns_are_those_of_yolov5() {
        assert_eq!(Table::heading().len(), 22 + 6 * 11);
        assert_eq!(
            line("all", 128, 929, [0.709, 0.634, 0.7131, 0.47549]),
            "                   all        128        929      0.709      0.634      0.713      0.475"
        );
    }
}
