//! Pictures to boxes around a model that knows the answer.

mod support;

use peristyle_runtime::detect::{Error, ImageRef, Params, Pipeline, Resize};
use support::{DETECTOR, Fake, PLAIN, bright_box, picture};

fn pipeline() -> Pipeline {
    Pipeline::builder(Fake::new(&DETECTOR, bright_box)).build().unwrap()
}

#[test]
fn boxes_come_back_in_pixels_of_the_picture() {
    let pixels = picture(200, 100, [50, 20, 150, 60]);
    let image = ImageRef::rgb(&pixels, 200, 100).unwrap();
    let mut pipeline = pipeline();
    for resize in [Resize::Letterbox, Resize::Stretch] {
        let found = pipeline.run(&[image], &Params { resize, ..Params::default() }).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class_ids, [0, 1], "{resize:?}");
        assert_eq!(found[0].scores, [0.9, 0.3]);
        let off = found[0].boxes[0].iter().zip([50.0, 20.0, 150.0, 60.0]).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) <= 3.2, "{resize:?}: {:?}", found[0].boxes[0]);
    }
    assert_eq!(pipeline.label(0), "person");
    assert_eq!(pipeline.label(17), "17");
}

#[test]
fn any_number_of_images_runs_in_batches_and_keeps_its_order() {
    let model = Fake::new(&DETECTOR, bright_box);
    let calls = model.calls.clone();
    let mut pipeline = Pipeline::builder(model).build().unwrap();
    let pictures: Vec<_> = (0..5).map(|i| picture(64, 64, [i * 8, 0, i * 8 + 16, 16])).collect();
    let images: Vec<_> = pictures.iter().map(|p| ImageRef::rgb(p, 64, 64).unwrap()).collect();
    let found = pipeline.run(&images, &Params::default()).unwrap();
    assert_eq!(*calls.lock().unwrap(), [2, 2, 1]);
    for (i, found) in found.iter().enumerate() {
        assert_eq!(found.boxes[0], [i as f32 * 8.0, 0.0, i as f32 * 8.0 + 16.0, 16.0]);
    }
    assert_eq!(pipeline.run(&[], &Params::default()).unwrap(), []);
    let timings = pipeline.timings();
    assert!(timings.inference.is_zero() && timings.pre_process.is_zero());
}

#[test]
fn a_padded_stride_is_skipped() {
    let pixels = picture(64, 64, [0, 0, 16, 16]);
    let mut wide = vec![255u8; 64 * 200];
    for y in 0..64 {
        wide[y * 200..][..192].copy_from_slice(&pixels[y * 192..][..192]);
    }
    let mut pipeline = pipeline();
    let tight = pipeline.run(&[ImageRef::rgb(&pixels, 64, 64).unwrap()], &Params::default()).unwrap();
    let loose = pipeline.run(&[ImageRef::with_stride(&wide, 64, 64, 200).unwrap()], &Params::default()).unwrap();
    assert_eq!(tight, loose);
}

#[test]
fn parameters_choose_what_is_reported() {
    let pixels = picture(64, 64, [8, 8, 40, 40]);
    let image = [ImageRef::rgb(&pixels, 64, 64).unwrap()];
    let mut pipeline = pipeline();
    let mut ids = |params: Params| pipeline.run(&image, &params).unwrap().remove(0).class_ids;
    assert_eq!(ids(Params::default()), [0, 1]);
    assert_eq!(ids(Params::deepsparse()), [0]);
    assert_eq!(ids(Params { classes: Some(vec![1, 2]), ..Params::default() }), [1]);
    assert_eq!(ids(Params { max_det: 1, ..Params::default() }), [0]);
    assert_eq!(ids(Params { iou_thres: 1.0, ..Params::default() }), [0, 0, 1]);
    assert_eq!(ids(Params { agnostic: true, iou_thres: 0.05, ..Params::default() }), [0]);
    assert_eq!(ids(Params { multi_label: true, conf_thres: 0.05, ..Params::default() }), [0, 1, 1]);
    assert!(matches!(
        pipeline.run(&image, &Params { classes: Some(vec![3]), ..Params::default() }),
        Err(Error::Param { name: "classes", .. })
    ));
}

#[test]
fn names_and_suppression_can_be_replaced() {
    let mut pipeline = Pipeline::builder(Fake::new(&DETECTOR, bright_box))
        .class_names(["a", "b"])
        .nms(|candidates, params| {
            assert_eq!(params.max_det, 1000);
            candidates.truncate(1);
        })
        .build()
        .unwrap();
    let pixels = picture(64, 64, [8, 8, 40, 40]);
    let found = pipeline.run(&[ImageRef::rgb(&pixels, 64, 64).unwrap()], &Params::default()).unwrap();
    assert_eq!(found[0].len(), 1);
    assert_eq!((pipeline.label(1).as_ref(), pipeline.label(2).as_ref()), ("b", "2"));
}

#[test]
fn a_model_without_a_head_is_refused_by_name() {
    let error = Pipeline::builder(Fake::new(&PLAIN, bright_box)).build().err().unwrap();
    assert!(error.to_string().contains("plain.onnx") && error.to_string().contains("no detection head"), "{error}");
}
