//! The classes of the COCO data set.

/// Names of the 80 classes in the order of detectors' outputs.
pub const NAMES: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// Category ids, 1 to 90, that annotations leave out.
const UNUSED: [usize; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// Ids of the classes in annotations and results; `None` when `names` are not the classes of COCO.
pub fn category_ids(names: &[String]) -> Option<Vec<usize>> {
    (names == NAMES).then(|| (1..=90).filter(|id| !UNUSED.contains(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_id() {
        let names = NAMES.map(str::to_owned);
        let ids = category_ids(&names).unwrap();
        assert_eq!((ids.len(), ids[0], ids[11], ids[24], ids[60], ids[79]), (80, 1, 13, 27, 67, 90));
        assert_eq!(category_ids(&names[..79]), None);
    }
}
