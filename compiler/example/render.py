"""Renders the synthetic scenes on which the example model is trained, validated and shown.

A scene is a pure function of its seed, its size and its options, so no images need to be stored.

    python render.py OUT.png [--seed 7] [--size 960x640] [--objects 14] [--boxes]
"""
import argparse
import math

import cv2
import numpy as np

from objects import NAMES, mix, paint, pick_colour, soft

MAX_COVERED = 0.35  # largest part of an object's box another one may share


def smooth_noise(rng, width, height, cells):
    """Noise in about -1..1 whose blobs are 1/cells of the width."""
    grid = rng.normal(0, 0.5, (max(2, cells * height // width) + 1, cells + 1)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def paint_background(rng, width, height):
    """A gradient with cloudy noise and, mostly, a pattern: blurred discs, stripes or a floor."""
    tone = (0.35, 0.65) if rng.random() < 0.4 else (0.7, 0.98)
    first, second = [pick_colour(rng, saturation=(0.08, 0.5), value=tone) for _ in range(2)]
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    angle, unit = rng.uniform(0, 2 * math.pi), min(width, height)
    canvas = mix(np.clip(0.5 + 0.5 * (x * math.cos(angle) + y * math.sin(angle)), 0, 1), first, second)
    canvas += (rng.uniform(0.02, 0.09) * smooth_noise(rng, width, height, int(rng.integers(3, 9))))[..., None]
    canvas += (rng.uniform(0.0, 0.05) * smooth_noise(rng, width, height, int(rng.integers(20, 50))))[..., None]
    pattern = rng.integers(4)
    if pattern == 0:
        discs = np.zeros((height, width), np.float32)
        for _ in range(rng.integers(5, 16)):
            spot = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(discs, spot, int(unit * rng.uniform(0.03, 0.16)), float(rng.uniform(0.2, 1)), -1)
        canvas = mix(0.35 * cv2.GaussianBlur(discs, (0, 0), unit * rng.uniform(0.008, 0.03)), np.float32(1), canvas)
    elif pattern == 1:
        turn, pitch = rng.uniform(0, math.pi), rng.uniform(6, 25)
        wave = np.sin(pitch * (x * math.cos(turn) * width + y * math.sin(turn) * height) / unit)
        canvas += (rng.uniform(0.02, 0.06) * np.clip(3 * wave, -1, 1))[..., None]
    elif pattern == 2:
        floor = soft(rng.uniform(-0.3, 0.5) - y, 0.02)
        canvas = mix(floor, canvas * rng.uniform(0.6, 0.85) + 0.05 * (1 + y[..., None]), canvas)
    canvas *= (1 - 0.12 * (x * x + y * y))[..., None]
    return np.clip(canvas, 0, 1)


def place(canvas, layer, left, top, value):
    """Blends `value` ([3] or [h, w, 3]) over the canvas where `layer` [h, w] says so, clipped to the canvas."""
    h, w = layer.shape
    y0, y1, x0, x1 = max(top, 0), min(top + h, canvas.shape[0]), max(left, 0), min(left + w, canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    canvas[y0:y1, x0:x1] = mix(layer[part], value[part] if value.ndim == 3 else value, canvas[y0:y1, x0:x1])


def render_scene(seed, width, height, objects=None, sizes=(0.075, 0.5), inside=False):
    """Renders one scene.

    seed: anything numpy's default_rng takes. objects: how many to try to place (default: random, 2..12),
    the kinds in turn from a random order. sizes: smallest and largest object, as parts of the longer side.
    inside: keep whole objects in the picture. Returns (image, boxes, kinds): RGB uint8 [height, width, 3];
    float32 [n, 4] tight xyxy boxes of the full outlines, cut at the border; int64 [n] indices into NAMES.
    """
    rng = np.random.default_rng(seed)
    canvas = paint_background(rng, width, height)
    objects = int(rng.integers(2, 13)) if objects is None else objects
    order, boxes, kinds = rng.permutation(len(NAMES)), [], []
    for index in range(objects):
        kind = int(order[index % len(NAMES)])
        for _ in range(12):
            size = max(width, height) * math.exp(rng.uniform(math.log(sizes[0]), math.log(sizes[1])))
            size = min(size, 0.9 * min(width, height))
            rim = size * (0.52 if inside else rng.uniform(0.15, 0.5))
            cx, cy = rng.uniform(rim, width - rim), rng.uniform(rim, height - rim)
            rough = np.array([cx - size / 2, cy - size / 2, cx + size / 2, cy + size / 2])
            if not boxes or shared(rough, np.array(boxes)).max() < MAX_COVERED:
                break
        else:
            continue
        alpha, colour = paint(rng, kind, size)
        left, top = int(cx) - alpha.shape[1] // 2, int(cy) - alpha.shape[0] // 2
        ys, xs = np.nonzero(alpha > 0.5)
        box = np.array([left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1], np.float32)
        box = np.clip(box, 0, [width, height, width, height])
        if min(box[2] - box[0], box[3] - box[1]) < 4:
            continue
        blur, drop = size * rng.uniform(0.03, 0.08), size * rng.uniform(0.03, 0.1)
        pad = int(3 * blur)
        shadow = cv2.GaussianBlur(np.pad(alpha, pad), (0, 0), blur) * rng.uniform(0.2, 0.5)
        place(canvas, shadow, left - pad + int(drop * 0.8), top - pad + int(drop), np.zeros(3, np.float32))
        place(canvas, alpha, left, top, colour)
        boxes.append(box)
        kinds.append(kind)
    canvas = canvas * 255 + rng.normal(0, rng.uniform(0.5, 5), canvas.shape).astype(np.float32)
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return image, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64)


def shared(box, others):
    """The largest part, of either box, that `box` [4] shares with each of `others` [n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), 1)
    area = np.minimum(np.prod(others[:, 2:] - others[:, :2], 1), np.prod(box[2:] - box[:2]))
    return common / np.maximum(area, 1)


def draw_boxes(image, boxes, labels):
    """A copy of the RGB image with labelled boxes."""
    image = image.copy()
    for (x0, y0, x1, y1), label in zip(boxes, labels):
        cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), (255, 60, 0), 2)
        cv2.putText(image, label, (int(x0) + 3, int(y0) + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 2)
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", default="960x640")
    parser.add_argument("--objects", type=int)
    parser.add_argument("--boxes", action="store_true", help="draw the ground truth")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    image, boxes, kinds = render_scene(args.seed, width, height, args.objects, inside=True)
    if args.boxes:
        image = draw_boxes(image, boxes, [NAMES[k] for k in kinds])
    cv2.imwrite(args.output, image[..., ::-1])


if __name__ == "__main__":
    main()
