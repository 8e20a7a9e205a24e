//! Non-maximum suppression: of boxes that overlap, the best stays.

use alloc::vec::Vec;

/// Candidates beyond this many, counted from the best, are dropped before suppression.
const MAX_CANDIDATES: usize = 30_000;

/// Kept boxes are compared in groups of this many, which the compiler turns into vector code.
const GROUP: usize = 8;

/// A box that may be an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Left, top, right, bottom, in pixels of the network input.
    pub xyxy: [f32; 4],
    /// Objectness times class score.
    pub score: f32,
    /// Class.
    pub class_id: usize,
}

/// What suppression needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NmsParams {
    /// A box whose intersection over union with a better box is greater than this is suppressed.
    pub iou_thres: f32,
    /// Boxes kept per image.
    pub max_det: usize,
    /// Whether boxes suppress boxes of other classes too.
    pub agnostic: bool,
}

/// Intersection over union of two `[x1, y1, x2, y2]` boxes, with 1e-9 added to the union.
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let inter = width * height;
    inter / (area(a) + area(b) - inter + 1e-9)
}

fn area(b: [f32; 4]) -> f32 {
    (b[2] - b[0]) * (b[3] - b[1])
}

/// Greedy suppression within each class; keeps its buffers between calls.
///
/// Candidates are taken best score first, equal scores in the given order; the first 30,000 take part.
#[derive(Default)]
pub struct Nms {
    order: Vec<u64>,
    spare: Vec<u64>,
    /// Kept boxes of each class.
    kept: Vec<KeptBoxes>,
    result: Vec<Candidate>,
}

impl Nms {
    /// An instance with nothing allocated yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces `candidates` by those that stay, best first.
    pub fn suppress(&mut self, candidates: &mut Vec<Candidate>, params: &NmsParams) {
        self.sort(candidates);
        for kept in &mut self.kept {
            kept.clear();
        }
        self.result.clear();
        for &key in &self.order {
            if self.result.len() >= params.max_det {
                break;
            }
            let candidate = candidates[key as u32 as usize];
            let class = if params.agnostic { 0 } else { candidate.class_id };
            if class >= self.kept.len() {
                self.kept.resize_with(class + 1, KeptBoxes::default);
            }
            if !self.kept[class].any_overlaps(candidate.xyxy, params.iou_thres) {
                self.kept[class].push(candidate.xyxy);
                self.result.push(candidate);
            }
        }
        core::mem::swap(candidates, &mut self.result);
    }

    /// Fills `order` with the indices of the best candidates, best first: the index is the low half of each key, so
    /// that equal scores keep their order.
    fn sort(&mut self, candidates: &[Candidate]) {
        self.order.clear();
        self.order.extend(candidates.iter().enumerate().map(|(i, c)| {
            let bits = c.score.to_bits();
            let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
            u64::from(!ascending) << 32 | i as u64
        }));
        if self.order.len() > MAX_CANDIDATES {
            self.order.select_nth_unstable(MAX_CANDIDATES);
            self.order.truncate(MAX_CANDIDATES);
        }
        sort_by_score(&mut self.order, &mut self.spare);
    }
}

/// Fewer keys than this are sorted by comparing.
const RADIX_FROM: usize = 1 << 11;

/// Bits of a key that one pass of [`sort_by_score`] looks at.
const DIGIT: u32 = 11;

/// Sorts keys by their high halves, equal ones by their low halves, which ascend in the whole or are few.
fn sort_by_score(keys: &mut Vec<u64>, spare: &mut Vec<u64>) {
    if keys.len() < RADIX_FROM || !keys.is_sorted_by_key(|key| *key as u32) {
        keys.sort_unstable();
        return;
    }
    spare.resize(keys.len(), 0);
    for pass in 0..32u32.div_ceil(DIGIT) {
        let digit = |key: u64| (key >> (32 + pass * DIGIT)) as usize & ((1 << DIGIT) - 1);
        let mut ends = [0u32; 1 << DIGIT];
        keys.iter().for_each(|key| ends[digit(*key)] += 1);
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        for &key in keys.iter() {
            let place = &mut ends[digit(key)];
            spare[*place as usize] = key;
            *place += 1;
        }
        core::mem::swap(keys, spare);
    }
}

/// Boxes in groups of [`GROUP`], one array per coordinate; the last group is filled up with boxes that overlap nothing.
#[derive(Default)]
struct KeptBoxes {
    groups: Vec<BoxGroup>,
    len: usize,
}

#[derive(Clone, Copy)]
struct BoxGroup {
    corners: [[f32; GROUP]; 4],
    areas: [f32; GROUP],
}

impl BoxGroup {
    /// Empty boxes: right of and below everything.
    const NOWHERE: Self = Self { corners: [[f32::MAX; GROUP]; 4], areas: [0.0; GROUP] };

    fn any_overlaps(&self, b: [f32; 4], b_area: f32, iou_thres: f32) -> bool {
        let [x1, y1, x2, y2] = &self.corners;
        let mut any = false;
        for i in 0..GROUP {
            let width = (x2[i].min(b[2]) - x1[i].max(b[0])).max(0.0);
            let height = (y2[i].min(b[3]) - y1[i].max(b[1])).max(0.0);
            let inter = width * height;
            any |= inter / (self.areas[i] + b_area - inter + 1e-9) > iou_thres;
        }
        any
    }
}

impl KeptBoxes {
    fn clear(&mut self) {
        self.groups.clear();
        self.len = 0;
    }

    fn push(&mut self, b: [f32; 4]) {
        let lane = self.len % GROUP;
        if lane == 0 {
            self.groups.push(BoxGroup::NOWHERE);
        }
        let group = self.groups.last_mut().expect("a group was pushed for the first lane");
        for (corner, value) in group.corners.iter_mut().zip(b) {
            corner[lane] = value;
        }
        group.areas[lane] = area(b);
        self.len += 1;
    }

    fn any_overlaps(&self, b: [f32; 4], iou_thres: f32) -> bool {
        let b_area = area(b);
        self.groups.iter().any(|group| group.any_overlaps(b, b_area, iou_thres))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x: f32, score: f32, class_id: usize) -> Candidate {
        Candidate { xyxy: [x, 0.0, x + 10.0, 10.0], score, class_id }
    }

    const PARAMS: NmsParams = NmsParams { iou_thres: 0.45, max_det: 300, agnostic: false };

    #[test]
    fn classes_do_not_suppress_each_other_unless_agnostic() {
        let boxes = [candidate(0.0, 0.5, 0), candidate(1.0, 0.9, 0), candidate(1.0, 0.7, 3)];
        let mut kept = boxes.to_vec();
        Nms::new().suppress(&mut kept, &PARAMS);
        assert_eq!(kept, [boxes[1], boxes[2]]);
        let mut kept = boxes.to_vec();
        Nms::new().suppress(&mut kept, &NmsParams { agnostic: true, ..PARAMS });
        assert_eq!(kept, [boxes[1]]);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let boxes: Vec<_> = (0..100).map(|i| candidate(20.0 * i as f32, 0.5, i % 3)).collect();
        let mut kept = boxes.clone();
        Nms::new().suppress(&mut kept, &PARAMS);
        assert_eq!(kept, boxes);
    }

    #[test]
    fn many_keys_are_sorted_as_few_are() {
        let mut state = 1u32;
        let mut keys: Vec<u64> = (0..5000)
            .map(|i| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                u64::from(if i % 3 == 0 { state & 7 } else { state }) << 32 | i
            })
            .collect();
        let mut expected = keys.clone();
        expected.sort_unstable();
        sort_by_score(&mut keys, &mut Vec::new());
        assert_eq!(keys, expected);
    }

    #[test]
    fn max_det_keeps_the_best() {
        let mut kept: Vec<_> = (0..50).map(|i| candidate(20.0 * i as f32, i as f32 / 100.0, 0)).collect();
        Nms::new().suppress(&mut kept, &NmsParams { max_det: 2, ..PARAMS });
        assert_eq!(kept.iter().map(|c| c.score).collect::<Vec<_>>(), [0.49, 0.48]);
        Nms::new().suppress(&mut kept, &NmsParams { max_det: 0, ..PARAMS });
        assert!(kept.is_empty());
    }

    #[test]
    fn only_the_best_thirty_thousand_take_part() {
        let mut kept: Vec<_> = (0..40_000).map(|i| candidate(20.0 * i as f32, i as f32, 0)).collect();
        Nms::new().suppress(&mut kept, &NmsParams { max_det: usize::MAX, ..PARAMS });
        assert_eq!(kept.len(), MAX_CANDIDATES);
        assert_eq!(kept.last().unwrap().score, 10_000.0);
    }

    #[test]
    fn boxes_without_area_do_not_suppress() {
        let boxes = vec![
            Candidate { xyxy: [5.0; 4], score: 0.9, class_id: 0 },
            Candidate { xyxy: [5.0; 4], score: 0.8, class_id: 0 },
        ];
        let mut kept = boxes.clone();
        Nms::new().suppress(&mut kept, &PARAMS);
        assert_eq!(kept, boxes);
    }
}
