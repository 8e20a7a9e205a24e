"""Prints what OpenCV takes on one thread for the work of `cargo bench --bench prepost`, in milliseconds: the least of
many runs. Needs `pip install opencv-python-headless`; photographs are taken from the folder in the first argument."""

import pathlib
import sys
import time

import cv2
import numpy as np


def best(work, seconds=1.0):
    least, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return least * 1e3


def letterbox(image, size=640):
    """As YOLOv5's `letterbox(auto=False)`, then to planes."""
    height, width = image.shape[:2]
    gain = min(size / height, size / width)
    new = round(width * gain), round(height * gain)
    dw, dh = (size - new[0]) / 2, (size - new[1]) / 2
    if (width, height) != new:
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    top, bottom, left, right = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return np.ascontiguousarray(image.transpose(2, 0, 1))


cv2.setNumThreads(1)
random = np.random.default_rng(1)
for width, height in [(810, 1080), (1280, 720), (640, 480), (4000, 3000)]:
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    levels = best(lambda: letterbox(image))
    floats = best(lambda: letterbox(image).astype(np.float32) / 255)
    blob = best(lambda: cv2.dnn.blobFromImage(image, 1 / 255, (640, 640))) if hasattr(cv2, "dnn") else float("nan")
    print(f"letterbox {width}x{height}: u8 {levels:.3f} ms, f32 {floats:.3f} ms (blobFromImage, stretched: {blob:.3f} ms)")

objects = np.column_stack([random.uniform(0, 560, (40, 2)), random.uniform(20, 100, (40, 2))])
for count in (300, 25200):
    boxes = objects[np.arange(count) % 40] * random.uniform(0.95, 1.05, (count, 4))
    scores = random.uniform(0.25, 1, count)
    classes = np.arange(count) % 40 % 7
    spent = best(lambda: cv2.dnn.NMSBoxesBatched(boxes, scores, classes, 0.25, 0.45))
    print(f"NMSBoxesBatched, {count} candidates: {spent:.3f} ms")

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jpg")) if len(sys.argv) > 1 else []:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    print(f"imdecode {path.name}: {best(lambda: cv2.imdecode(data, cv2.IMREAD_COLOR)):.3f} ms")
