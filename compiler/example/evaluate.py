"""Judges a detector on held-out scenes, and makes the example image.

    python evaluate.py map MODEL.onnx [--images 200]        mAP50-95 and mAP50 by pycocotools
    python evaluate.py example MODEL.onnx OUT.jpg [--first 0] [--draw BOXES.png]
        renders held-out candidates and writes the first, from number --first on, in which every object is found
"""
import argparse
import contextlib
import io

import cv2
import numpy as np

from objects import NAMES
from render import draw_boxes, render_scene

SIZE = 320
VAL_SIZES = [(640, 480), (960, 640), (480, 640), (640, 360), (512, 512)]  # width, height in turn
VAL_SPLIT, EXAMPLE_SPLIT = 1, 2  # first element of a scene's seed; training uses 0


def letterbox(image, size=SIZE):
    """Scales the RGB image to fit size x size and pads with grey: (image, gain, left, top)."""
    height, width = image.shape[:2]
    gain = size / max(height, width)
    new_width, new_height = round(width * gain), round(height * gain)
    if (new_width, new_height) != (width, height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    canvas = np.full((size, size, 3), 114, np.uint8)
    canvas[top:top + new_height, left:left + new_width] = image
    return canvas, gain, left, top


def overlap(box, others):
    """Intersection over union of one xyxy box with each of `others`."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), 1)
    return common / (np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], 1) - common + 1e-9)


def select(rows, conf, iou, limit=300, many_labels=False):
    """Non-maximum suppression within each class. rows: [N, 5 + classes] as the model puts them out.

    Returns (boxes xyxy, scores, kinds), best first. many_labels: a box may count for several classes.
    """
    rows = rows[rows[:, 4] > conf]
    scores = rows[:, 5:] * rows[:, 4:5]
    if not many_labels:
        scores = np.where(scores == scores.max(1, keepdims=True), scores, 0)
    index, kinds = np.nonzero(scores > conf)
    scores = scores[index, kinds]
    order = np.argsort(-scores, kind="stable")
    index, kinds, scores = index[order], kinds[order], scores[order]
    centre, half = rows[index, :2], rows[index, 2:4] / 2
    boxes, alive, kept = np.concatenate([centre - half, centre + half], 1), np.ones(len(index), bool), []
    for i in range(len(index)):
        if alive[i] and len(kept) < limit:
            kept.append(i)
            alive &= ~((kinds == kinds[i]) & (overlap(boxes[i], boxes) > iou))
    return boxes[kept], scores[kept], kinds[kept]


def detect(predict, image, conf, iou, many_labels=False):
    """Detections of one RGB image in its own pixels. predict: float32 [1, 3, S, S] -> [1, N, 5 + classes]."""
    boxed, gain, left, top = letterbox(image)
    rows = predict(boxed.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0]
    boxes, scores, kinds = select(rows, conf, iou, many_labels=many_labels)
    boxes = (boxes - [left, top, left, top]) / gain
    height, width = image.shape[:2]
    return np.clip(boxes, 0, [width, height, width, height]), scores, kinds


def val_scenes(count):
    """The held-out scenes: (image, boxes, kinds) in turn."""
    for index in range(count):
        yield render_scene([VAL_SPLIT, index], *VAL_SIZES[index % len(VAL_SIZES)])


def mean_ap(predict, count):
    """(mAP50-95, mAP50, AP50-95 per class) on the first `count` held-out scenes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    images, truth, found = [], [], []
    for index, (image, boxes, kinds) in enumerate(val_scenes(count)):
        images.append(dict(id=index, height=image.shape[0], width=image.shape[1]))
        for (x0, y0, x1, y1), kind in zip(boxes.tolist(), kinds.tolist()):
            truth.append(dict(id=len(truth) + 1, image_id=index, category_id=kind, bbox=[x0, y0, x1 - x0, y1 - y0],
                              area=(x1 - x0) * (y1 - y0), iscrowd=0))
        for (x0, y0, x1, y1), score, kind in zip(*detect(predict, image, 0.001, 0.6, many_labels=True)):
            found.append(dict(image_id=index, category_id=int(kind), bbox=[x0, y0, x1 - x0, y1 - y0], score=float(score)))
    if not found:
        return 0.0, 0.0, dict.fromkeys(NAMES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(images=images, annotations=truth, categories=[dict(id=i, name=n) for i, n in enumerate(NAMES)])
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate(), judge.accumulate(), judge.summarize()
    precision = judge.eval["precision"][:, :, :, 0, 2]  # iou, recall, class
    return judge.stats[0], judge.stats[1], {name: precision[:, :, i].mean() for i, name in enumerate(NAMES)}


def onnx_predictor(path):
    """Runs the ONNX file as written, without graph optimisations, on one thread."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def judge_example(predict, image, boxes, kinds):
    """(objects found at conf 0.25 with IoU 0.7 and the right class, other detections, lowest score)."""
    found, scores, labels = detect(predict, image, 0.25, 0.45)
    hits = sum(bool(((overlap(box, found) > 0.7) & (labels == kind)).any()) for box, kind in zip(boxes, kinds))
    return hits, len(found) - hits, scores.min(initial=1.0)


def make_example(predict, path, draw, first, objects=13, tries=40):
    """Writes the first 960x640 scene of `tries` in which the model finds every object, otherwise the best."""
    best = None
    for index in range(first, first + tries):
        image, boxes, kinds = render_scene([EXAMPLE_SPLIT, index], 960, 640, objects, sizes=(0.09, 0.3), inside=True)
        if len(boxes) < objects:
            continue
        cv2.imwrite(path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        hits, wrong, lowest = judge_example(predict, cv2.imread(path)[..., ::-1], boxes, kinds)
        faults = objects - hits + wrong
        if best is None or faults < best[0]:
            best = (faults, lowest, index, image)
        if not faults:
            break
    faults, lowest, index, image = best
    print(f"scene {index}: {objects} objects, {faults} missed or false, lowest score {lowest:.2f}")
    cv2.imwrite(path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if draw:
        found, scores, labels = detect(predict, cv2.imread(path)[..., ::-1], 0.25, 0.45)
        text = [f"{NAMES[kind]} {score:.2f}" for kind, score in zip(labels, scores)]
        cv2.imwrite(draw, draw_boxes(image, found, text)[..., ::-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["map", "example"])
    parser.add_argument("model")
    parser.add_argument("output", nargs="?")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--draw")
    args = parser.parse_args()
    predict = onnx_predictor(args.model)
    if args.task == "map":
        average, half, classes = mean_ap(predict, args.images)
        print(f"mAP50-95 {average:.4f}  mAP50 {half:.4f}  " + "  ".join(f"{n} {v:.3f}" for n, v in classes.items()))
    else:
        make_example(predict, args.output, args.draw, args.first)


if __name__ == "__main__":
    main()
