"""Uses the wheel of the bundled example as a program written for DeepSparse would, and wrongly too.

Arguments: the picture, the model file. Prints what every way of passing the picture finds, as JSON.
"""

import json
import pathlib
import sys
import threading

import shapes
from shapes import Pipeline

picture, model = sys.argv[1:]
pipe = Pipeline.create(task="yolo", model_path=model, batch_size=1, num_cores=2)
assert pipe.image_size == (320, 320) and pipe.class_names[1] == "cube", pipe.class_names
found = {}


def keep(how, output, image=0):
    boxes, scores, labels, class_ids = output[image]
    assert output.boxes[image] is boxes and output["scores"][image] is scores and len(class_ids) == len(boxes)
    found[how] = {"boxes": boxes, "scores": scores, "labels": labels}


def refused(kind, words, act):
    try:
        act()
    except kind as error:
        assert words in str(error), f"{words!r} is not in {str(error)!r}"
    else:
        raise AssertionError(f"nothing was refused: {words}")


def same(words, output, expected):
    assert output.boxes == expected.boxes and output.labels == expected.labels, words


keep("path", pipe(images=picture))
everything = pipe(images=[picture, pathlib.Path(picture)])
keep("list of paths", everything, 1)
assert len(everything) == 2 and [len(image.boxes) for image in everything] == [13, 13]
assert sorted(everything.dict()) == sorted(everything.keys())
keep("bytes", pipe(open(picture, "rb").read()))
assert len(pipe(images=[])) == 0

few = pipe(images=picture, conf_thres=0.93, iou_thres=0.6)
assert 0 < len(few.boxes[0]) < 13 and min(few.scores[0]) > 0.93
cubes = pipe(picture, classes="cube")
assert set(cubes.labels[0]) == {"cube"} and pipe(picture, classes=[1]).boxes == cubes.boxes
assert len(pipe(picture, conf_thres=0.001, multi_label=True).boxes[0]) > 13
assert len(pipe(picture, max_det=3).boxes[0]) == 3
named = Pipeline.create(task="yolov5", class_names={index: f"thing {index}" for index in range(6)})
assert named(picture).labels[0][1] == "thing 3", named(picture).labels

for path in [None, "shapes", "shapes.onnx", "some/where/Shapes.onnx"]:
    Pipeline.create(task="yolo", model_path=path).close()
refused(ValueError, "shapes (shapes.onnx, sha256 ", lambda: Pipeline.create(task="yolo", model_path="yolov5s.onnx"))
refused(ValueError, "peristyle build yolov5s.onnx --emit wheel", lambda: Pipeline.create("yolo", "yolov5s.onnx"))
other = pathlib.Path("shapes.onnx")
other.write_bytes(b"another model")
refused(ValueError, "is not the file that is compiled in", lambda: Pipeline.create("yolo", "shapes.onnx"))
other.unlink()
refused(ValueError, "task is 'bert'", lambda: Pipeline.create(task="bert"))
refused(ValueError, "--imgsz 640", lambda: Pipeline.create("yolo", image_size=640))
refused(ValueError, "class_names holds 1 names", lambda: Pipeline.create("yolo", class_names=["a"]))
refused(ValueError, "conf_thres is 2", lambda: pipe(picture, conf_thres=2))
refused(ValueError, "iou_thres is 'x'", lambda: pipe(picture, iou_thres="x"))
refused(ValueError, "no class 'zebra'", lambda: pipe(picture, classes=["zebra"]))
refused(FileNotFoundError, "nowhere.jpg", lambda: pipe("nowhere.jpg"))
refused(ValueError, f"{model}: the image file cannot be read", lambda: pipe(model))
refused(TypeError, "an image is a int", lambda: pipe(3))
refused(TypeError, "expected an image", lambda: pipe())
refused(TypeError, "unexpected keyword", lambda: pipe(picture, threshold=1))
refused(shapes.PeristyleError, "ask for fewer", lambda: Pipeline.create("yolo", num_cores=1 << 30))

results = []
workers = [threading.Thread(target=lambda: results.append(pipe(picture))) for _ in range(3)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
assert len(results) == 3
[same("threads", result, pipe(picture)) for result in results]

with Pipeline.create("yolo") as short:
    short(picture)
refused(shapes.PeristyleError, "closed", lambda: short(picture))

try:
    import numpy
    from PIL import Image
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
else:
    image = Image.open(picture)
    keep("pillow", pipe(images=[image]))
    pixels = numpy.array(image.convert("RGB"))
    keep("HWC", pipe(images=pixels))
    keep("CHW", pipe(images=numpy.ascontiguousarray(pixels.transpose(2, 0, 1))))
    keep("CHW view", pipe(images=[pixels.transpose(2, 0, 1)]))
    keep("4-D", pipe(images=numpy.stack([pixels, pixels, pixels])), 2)
    keep("mixed", pipe(images=[picture, pixels]), 1)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    keep("read-only", pipe(images=frozen))
    keep("no alpha", pipe(images=image.convert("RGBA")))
    grey = numpy.array(image.convert("L"))
    same("grey", pipe(images=grey), pipe(images=numpy.stack([grey] * 3, axis=2)))
    refused(TypeError, "expected unsigned bytes", lambda: pipe(pixels.astype("float32")))
    refused(ValueError, "shape (4, 4, 4, 4)", lambda: pipe([numpy.zeros((4, 4, 4, 4), "uint8")]))
    refused(ValueError, "shape (0, 4, 3)", lambda: pipe([numpy.zeros((0, 4, 3), "uint8")]))

print(json.dumps(found))
