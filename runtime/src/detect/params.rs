//! Choices that may differ from one call to the next.

use super::{Error, Resize};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// Thresholds and options of a call; the default is that of Ultralytics' `detect.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Least objectness and least score, exclusive, 0 to 1.
    pub conf_thres: f32,
    /// Greatest intersection over union of two boxes of a class, 0 to 1.
    pub iou_thres: f32,
    /// Boxes per picture.
    pub max_det: usize,
    /// Class ids to report; all when `None`.
    pub classes: Option<Vec<usize>>,
    /// Whether boxes suppress boxes of other classes.
    pub agnostic: bool,
    /// Whether one box may be reported for several classes.
    pub multi_label: bool,
    /// How pictures are fitted into the network input.
    pub resize: Resize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            conf_thres: 0.25,
            iou_thres: 0.45,
            max_det: 1000,
            classes: None,
            agnostic: false,
            multi_label: false,
            resize: Resize::Letterbox,
        }
    }
}

impl Params {
    /// The default thresholds of DeepSparse's `yolo` pipeline: confidence 0.45, IoU 0.25, 300 boxes.
    ///
    /// Pictures are still letterboxed; set `resize` for DeepSparse's stretched input.
    pub fn deepsparse() -> Self {
        Self { conf_thres: 0.45, iou_thres: 0.25, max_det: 300, ..Self::default() }
    }

    /// The thresholds that mAP is measured with: confidence 0.001, IoU 0.6, 300 boxes, several labels per box.
    pub fn validation() -> Self {
        Self { conf_thres: 0.001, iou_thres: 0.6, max_det: 300, multi_label: true, ..Self::default() }
    }

    /// Whether every field is in its range for a model of `classes` classes.
    ///
    /// # Errors
    /// [`Error::Param`] with the first field that is not.
    pub fn check(&self, classes: usize) -> Result<(), Error> {
        for (name, value) in [("conf_thres", self.conf_thres), ("iou_thres", self.iou_thres)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Param { name, value: value.to_string(), expected: "a number from 0 to 1".into() });
            }
        }
        if let Some(id) = self.classes.iter().flatten().find(|id| **id >= classes) {
            let expected = format!("class ids below {classes}, the number of classes of the model");
            return Err(Error::Param { name: "classes", value: id.to_string(), expected });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_and_classes_are_checked() {
        let name = |params: Params| match params.check(80) {
            Err(Error::Param { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(Params::default().check(80), Ok(()));
        assert_eq!(name(Params { conf_thres: f32::NAN, ..Params::default() }), "conf_thres");
        assert_eq!(name(Params { iou_thres: 1.5, ..Params::default() }), "iou_thres");
        assert_eq!(name(Params { classes: Some(vec![3, 80]), ..Params::default() }), "classes");
    }
}
