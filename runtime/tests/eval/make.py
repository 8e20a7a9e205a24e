"""Writes synthetic.json: marked and found boxes, and what pycocotools 2.0 says about them.

Crowds, objects of every size, double findings, equal scores, more than 100 findings in a picture, a class that is never
marked and one that is never found. Run with `pycocotools` installed: python3 make.py
"""

import contextlib
import io
import json
import pathlib
import random

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

random.seed(5)
CLASSES = 5
images, truths, found = [], [], []


def jitter(box, amount):
    x, y, w, h = box
    moved = [x + random.gauss(0, amount) * w, y + random.gauss(0, amount) * h]
    moved += [w * random.uniform(1 - amount, 1 + amount), h * random.uniform(1 - amount, 1 + amount)]
    return [round(v, 3) for v in moved]


for image in range(1, 25):
    images.append({"id": image * 7, "width": 640, "height": 480})
    for _ in range(random.randrange(0, 12)):
        category = random.choice([1, 1, 2, 3, 5])
        side = random.choice([12, 40, 150])
        box = [round(v, 2) for v in (random.uniform(0, 480), random.uniform(0, 320), side, side * random.uniform(0.5, 1.5))]
        truth = {"id": len(truths) + 1, "image_id": image * 7, "category_id": category, "bbox": box}
        truth["area"] = round(box[2] * box[3] * random.uniform(0.5, 1), 2)
        truth["iscrowd"] = int(random.random() < 0.1)
        truths.append(truth)
        for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
            if category == 5:
                continue
            label = category if random.random() < 0.9 else random.choice([1, 2, 3, 4])
            score = round(random.random(), random.choice([1, 5]))
            found.append({"image_id": image * 7, "category_id": label, "bbox": jitter(box, 0.12), "score": score})
    for _ in range(130 if image == 3 else random.randrange(0, 6)):
        box = [round(random.uniform(0, 500), 3) for _ in range(2)] + [round(random.uniform(5, 120), 3) for _ in range(2)]
        found.append({"image_id": image * 7, "category_id": random.choice([1, 4]), "bbox": box, "score": round(random.random() * 0.6, 5)})

categories = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO()
    truth.dataset = {"images": images, "annotations": truths, "categories": categories}
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
precision = evaluation.eval["precision"][:, :, :, 0, 2]
per_class = [[float(np.mean(precision[t, :, k])) if precision[t, 0, k] > -1 else None for t in range(10)] for k in range(CLASSES)]
keep = ("image_id", "category_id", "bbox", "area", "iscrowd", "score")
slim = lambda items: [{k: v for k, v in item.items() if k in keep} for item in items]
result = {
    "images": [image["id"] for image in images],
    "truths": slim(truths),
    "found": slim(found),
    "stats": [float(v) for v in evaluation.stats],
    "per_class": per_class,
}
path = pathlib.Path(__file__).with_name("synthetic.json")
path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
