//! Suppression and letterbox against their plain definitions.

use peristyle_runtime::detect::{Candidate, Nms, NmsParams, Placement, Resize, iou};
use proptest::prelude::*;

/// The definition: take the best, drop what overlaps it, repeat.
fn reference(candidates: &[Candidate], params: &NmsParams) -> Vec<Candidate> {
    let mut left = candidates.to_vec();
    left.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept = Vec::new();
    while !left.is_empty() && kept.len() < params.max_det {
        let best = left.remove(0);
        left.retain(|c| {
            let same = params.agnostic || c.class_id == best.class_id;
            !(same && iou(best.xyxy, c.xyxy) > params.iou_thres)
        });
        kept.push(best);
    }
    kept
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    // Few distinct coordinates and scores, so that equal scores and overlaps are common.
    let candidate = (0..40u8, 0..40u8, 0..20u8, 0..20u8, 0..50u8, 0..3usize).prop_map(|(x, y, w, h, s, class_id)| {
        let [x, y, w, h] = [x, y, w, h].map(f32::from);
        Candidate { xyxy: [x, y, x + w, y + h], score: f32::from(s) / 50.0, class_id }
    });
    prop::collection::vec(candidate, 0..120)
}

fn params() -> impl Strategy<Value = NmsParams> {
    (0..=20u8, 0..60usize, any::<bool>()).prop_map(|(iou_thres, max_det, agnostic)| NmsParams {
        iou_thres: f32::from(iou_thres) / 20.0,
        max_det,
        agnostic,
    })
}

proptest! {
    #[test]
    fn suppression_follows_the_definition(given in candidates(), params in params()) {
        let mut kept = given.clone();
        Nms::new().suppress(&mut kept, &params);
        prop_assert_eq!(kept, reference(&given, &params));
    }

    #[test]
    fn suppression_is_idempotent(given in candidates(), params in params()) {
        let mut nms = Nms::new();
        let mut once = given;
        nms.suppress(&mut once, &params);
        let mut twice = once.clone();
        nms.suppress(&mut twice, &params);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn letterbox_has_an_inverse(
        width in 1..5000usize,
        height in 1..5000usize,
        input in prop::sample::select(vec![[640, 640], [416, 640], [32, 96]]),
        stretch in any::<bool>(),
        corners in prop::array::uniform4(0.0..1.0f32),
    ) {
        let resize = if stretch { Resize::Stretch } else { Resize::Letterbox };
        let placement = Placement::new([width, height], input, resize);
        for ((pad, scaled), side) in placement.pad.iter().zip(placement.scaled).zip(input) {
            prop_assert!(scaled >= 1 && pad + scaled <= side);
            prop_assert!((side - pad - scaled).abs_diff(*pad) <= 1, "padding is even on both sides");
        }
        let size = [width as f32, height as f32, width as f32, height as f32];
        let xyxy: [f32; 4] = std::array::from_fn(|i| corners[i] * size[i]);
        let back = placement.to_picture(placement.to_input(xyxy));
        for i in 0..4 {
            prop_assert!((back[i] - xyxy[i]).abs() <= 1e-4 * size[i].max(1.0), "{:?} {:?}", back, xyxy);
            prop_assert!((0.0..=size[i]).contains(&back[i]));
        }
    }
}
