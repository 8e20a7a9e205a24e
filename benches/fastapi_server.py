"""The service that people write by hand: FastAPI around ONNX Runtime, YOLOv5's letterbox and suppression in NumPy.

    python fastapi_server.py MODEL.onnx PORT THREADS
"""

import io
import sys

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image, ImageOps

MODEL, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

options = ort.SessionOptions()
options.intra_op_num_threads = THREADS
options.inter_op_num_threads = 1
session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
height, width = (side if isinstance(side, int) else 640 for side in entry.shape[2:])
takes_levels = "uint8" in entry.type
app = FastAPI()


def letterbox(picture):
    gain = min(height / picture.height, width / picture.width)
    size = round(picture.width * gain), round(picture.height * gain)
    left, top = (width - size[0]) / 2, (height - size[1]) / 2
    canvas = Image.new("RGB", (width, height), (114, 114, 114))
    canvas.paste(picture.resize(size, Image.BILINEAR), (round(left - 0.1), round(top - 0.1)))
    levels = np.asarray(canvas).transpose(2, 0, 1)[None]
    return (levels if takes_levels else levels.astype(np.float32) / 255), gain, left, top


def suppress(rows, conf_thres, iou_thres, max_det):
    rows = rows[rows[:, 4] > conf_thres]
    scores = rows[:, 5:] * rows[:, 4:5]
    classes, scores = scores.argmax(1), scores.max(1)
    keep = scores > conf_thres
    rows, classes, scores = rows[keep], classes[keep], scores[keep]
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1)
    apart = boxes + classes[:, None] * 7680
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = (-scores).argsort(), []
    while order.size and len(kept) < max_det:
        first, order = order[0], order[1:]
        kept.append(first)
        low = np.maximum(apart[first, :2], apart[order, :2])
        high = np.minimum(apart[first, 2:], apart[order, 2:])
        shared = (high - low).clip(0).prod(1)
        order = order[shared / (area[first] + area[order] - shared) <= iou_thres]
    return boxes[kept], scores[kept], classes[kept]


# Not `async`: Starlette then answers on its threads, and the event loop stays free.
@app.post("/predict/from_files")
def predict(request: list[UploadFile], conf_thres: float = 0.25, iou_thres: float = 0.45, max_det: int = 1000):
    found = {"boxes": [], "scores": [], "labels": []}
    for upload in request:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(upload.file.read()))).convert("RGB")
        levels, gain, left, top = letterbox(picture)
        rows = session.run(None, {entry.name: levels})[0][0]
        boxes, scores, classes = suppress(rows, conf_thres, iou_thres, max_det)
        boxes = ((boxes - [left, top, left, top]) / gain).clip(0, [picture.width, picture.height] * 2)
        found["boxes"].append(boxes.round(2).tolist())
        found["scores"].append(scores.tolist())
        found["labels"].append(classes.tolist())
    return found


@app.get("/health")
def health():
    return True


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error")
