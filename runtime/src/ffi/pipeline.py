"""Finds objects in images with models that peristyle compiled into this package.

    from PACKAGE import Pipeline

    pipe = Pipeline.create(task="yolo", model_path="MODEL.onnx")
    found = pipe(images=["a.jpg", "b.png"], conf_thres=0.25, iou_thres=0.45)
    found.boxes[0], found.scores[0], found.labels[0]      # of the first image; also found["boxes"]
    for boxes, scores, labels, class_ids in found: ...     # image by image

Images are paths, files in memory (`bytes`), arrays of unsigned bytes of the form HWC or CHW in RGB order, grey HW, lists
and 4-D arrays of these, and Pillow images. Nothing but Python is needed; NumPy arrays are read where they lie.
"""

import ctypes
import hashlib
import os
import threading
from collections import namedtuple

from ._models import MODELS

__all__ = ["ImageOutput", "Output", "Pipeline", "PeristyleError", "MODELS"]

ABI_VERSION = 1
TASKS = ("yolo", "yolov3", "yolov5", "object_detection")

_PARAM, _IMAGE = 2, 3


class PeristyleError(RuntimeError):
    """A call that the library refused for another reason than what it was given."""


class _Info(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("source", ctypes.c_char_p),
        ("sha256", ctypes.c_char_p),
        ("compiler", ctypes.c_char_p),
        ("detector", ctypes.c_int32),
        ("input_width", ctypes.c_uint32),
        ("input_height", ctypes.c_uint32),
    ]


class _Image(ctypes.Structure):
    _fields_ = [
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("stride", ctypes.c_size_t),
    ]


class _Params(ctypes.Structure):
    _fields_ = [
        ("conf_thres", ctypes.c_float),
        ("iou_thres", ctypes.c_float),
        ("max_det", ctypes.c_uint32),
        ("agnostic", ctypes.c_int32),
        ("multi_label", ctypes.c_int32),
        ("stretch", ctypes.c_int32),
        ("classes", ctypes.POINTER(ctypes.c_uint32)),
        ("class_count", ctypes.c_size_t),
    ]


class _Found(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_size_t),
        ("boxes", ctypes.POINTER(ctypes.c_float * 4)),
        ("scores", ctypes.POINTER(ctypes.c_float)),
        ("class_ids", ctypes.POINTER(ctypes.c_uint32)),
    ]


class _Library:
    """The functions of one model."""

    _loaded = {}

    def __init__(self, model):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), model["library"])
        self.functions, self.prefix = ctypes.CDLL(path), model["prefix"]
        handle, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
        for name, result, arguments in [
            ("abi_version", ctypes.c_uint32, []),
            ("create", ctypes.c_int32, [ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(handle), text, size]),
            ("free", None, [handle]),
            ("last_error", text, [handle]),
            ("info", ctypes.c_int32, [handle, ctypes.POINTER(_Info)]),
            ("class_count", size, [handle]),
            ("class_name", text, [handle, size]),
            ("default_params", None, [ctypes.POINTER(_Params)]),
            (
                "detect",
                ctypes.c_int32,
                [handle, ctypes.POINTER(_Image), size, ctypes.POINTER(_Params), ctypes.POINTER(_Found)],
            ),
            ("detect_file", ctypes.c_int32, [handle, text, size, ctypes.POINTER(_Params), ctypes.POINTER(_Found)]),
        ]:
            function = getattr(self.functions, f"{self.prefix}_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        if self.abi_version() != ABI_VERSION:
            raise PeristyleError(f"{path} has version {self.abi_version()} of its interface, not {ABI_VERSION}")

    @classmethod
    def of(cls, model):
        if model["name"] not in cls._loaded:
            cls._loaded[model["name"]] = cls(model)
        return cls._loaded[model["name"]]


ImageOutput = namedtuple("ImageOutput", "boxes scores labels class_ids")
ImageOutput.__doc__ = "What was found in one image, best score first; boxes are left, top, right, bottom in its pixels."


class Output:
    """What was found: `boxes`, `scores`, `labels` and `class_ids`, each with one list per image."""

    _FIELDS = ("boxes", "scores", "labels", "class_ids", "intermediate_outputs")

    def __init__(self, images):
        self.boxes = [image.boxes for image in images]
        self.scores = [image.scores for image in images]
        self.labels = [image.labels for image in images]
        self.class_ids = [image.class_ids for image in images]
        self.intermediate_outputs = None

    def keys(self):
        return self._FIELDS

    def dict(self):
        return {field: getattr(self, field) for field in self._FIELDS}

    def __getitem__(self, key):
        if isinstance(key, str):
            if key not in self._FIELDS:
                raise KeyError(f"{key!r}: there are {', '.join(self._FIELDS)}")
            return getattr(self, key)
        return ImageOutput(self.boxes[key], self.scores[key], self.labels[key], self.class_ids[key])

    def __len__(self):
        return len(self.boxes)

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __repr__(self):
        return f"Output(boxes={self.boxes!r}, scores={self.scores!r}, labels={self.labels!r})"


class Pipeline:
    """A detector with its threads. Calls from several threads wait for each other."""

    def __init__(self, model, num_cores=None, batch_size=1, class_names=None):
        self._library, self._handle = _Library.of(model), ctypes.c_void_p()
        self._lock = threading.Lock()
        threads = _count("num_cores", num_cores)
        batch = _count("batch_size", batch_size)
        error = ctypes.create_string_buffer(512)
        status = self._library.create(threads, batch, ctypes.byref(self._handle), error, len(error))
        if status:
            raise PeristyleError(error.value.decode())
        info = _Info()
        self._library.info(self._handle, ctypes.byref(info))
        if not info.detector:
            raise PeristyleError(f"the model {info.source.decode()!r} has no detection head")
        self.model_path = info.source.decode()
        self.model_sha256 = info.sha256.decode()
        self.image_size = (info.input_height, info.input_width)
        count = self._library.class_count(self._handle)
        baked = [self._library.class_name(self._handle, class_id) for class_id in range(count)]
        self.class_names = [None if name is None else name.decode() for name in baked]
        if class_names is not None:
            self.class_names = _class_names(class_names, count)

    @classmethod
    def create(
        cls,
        task="yolo",
        model_path=None,
        *,
        batch_size=1,
        num_cores=None,
        class_names=None,
        image_size=None,
        engine_type=None,
    ):
        """The pipeline of a model that is compiled in.

        `model_path` names it: by its file, which is compared when it is there, by its name, or by a stub of SparseZoo.
        `class_names` replaces those of the model: a list, a dict from id to name, or the path of a JSON file.
        """
        if task not in TASKS:
            raise ValueError(f"task is {task!r}, expected one of {', '.join(TASKS)}")
        if engine_type not in (None, "peristyle", "deepsparse"):
            raise ValueError(f"engine_type is {engine_type!r}; the model is compiled, there is no other engine")
        pipeline = cls(_find(model_path), num_cores, batch_size, class_names)
        if image_size is not None:
            size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
            if size != pipeline.image_size:
                raise ValueError(
                    f"image_size is {size}, the model is compiled for {pipeline.image_size}; "
                    f"build it with `peristyle build --imgsz {size[0]} {size[-1]}`"
                )
        return pipeline

    def __call__(
        self,
        images=None,
        *,
        conf_thres=0.25,
        iou_thres=0.45,
        multi_label=False,
        max_det=1000,
        classes=None,
        agnostic=False,
        resize="letterbox",
        return_intermediate_outputs=False,
    ):
        """Finds the objects in one image or in each of several."""
        if images is None:
            raise TypeError("images: expected an image or a list of images")
        if return_intermediate_outputs:
            raise ValueError("return_intermediate_outputs: there are none in a compiled model")
        if resize not in ("letterbox", "stretch"):
            raise ValueError(f"resize is {resize!r}, expected 'letterbox' or 'stretch'")
        params = _Params()
        self._library.default_params(ctypes.byref(params))
        params.conf_thres, params.iou_thres = _number("conf_thres", conf_thres), _number("iou_thres", iou_thres)
        params.max_det, params.agnostic = _count("max_det", max_det), bool(agnostic)
        params.multi_label, params.stretch = bool(multi_label), resize == "stretch"
        if classes is not None:
            ids = [self._class_id(wanted) for wanted in ([classes] if isinstance(classes, (str, int)) else classes)]
            params.classes, params.class_count = (ctypes.c_uint32 * max(1, len(ids)))(*ids), len(ids)
        images = [_Input(image) for image in _listed(images)]
        with self._lock:
            if not self._handle:
                raise PeristyleError("the pipeline is closed")
            if all(image.pixels for image in images):
                return Output(self._detect(images, params))
            return Output([found for image in images for found in self._detect([image], params)])

    def _detect(self, images, params):
        found = (_Found * max(1, len(images)))()
        if images and not images[0].pixels:
            (image,) = images
            status = self._library.detect_file(self._handle, image.data, len(image.data), ctypes.byref(params), found)
        else:
            array = (_Image * max(1, len(images)))(*[image.pixels for image in images])
            status = self._library.detect(self._handle, array, len(images), ctypes.byref(params), found)
        if status:
            message = self._library.last_error(self._handle).decode()
            if status == _IMAGE and images[0].name:
                message = f"{images[0].name}: {message}"
            raise (ValueError if status in (_PARAM, _IMAGE) else PeristyleError)(message)
        return [self._image(one) for one in found[: len(images)]]

    def _image(self, found):
        range_ = range(found.count)
        class_ids = [found.class_ids[i] for i in range_]
        return ImageOutput(
            [list(found.boxes[i]) for i in range_],
            [found.scores[i] for i in range_],
            [self.label(class_id) for class_id in class_ids],
            class_ids,
        )

    def label(self, class_id):
        """Name of a class, or its number as text when it has none."""
        name = self.class_names[class_id]
        return str(class_id) if name is None else name

    def _class_id(self, wanted):
        if isinstance(wanted, str):
            if wanted not in self.class_names:
                names = ", ".join(name for name in self.class_names if name is not None)
                raise ValueError(f"classes: the model has no class {wanted!r}; it has {names}")
            return self.class_names.index(wanted)
        if not 0 <= wanted < len(self.class_names):
            raise ValueError(f"classes: {wanted} is no class; there are {len(self.class_names)}")
        return wanted

    def close(self):
        """Ends the threads; also done when the pipeline is dropped."""
        handle, self._handle = self._handle, ctypes.c_void_p()
        if handle:
            self._library.free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()


class _Input:
    """One image as the library takes it: `pixels` with what keeps them alive, or `data`, a file in memory."""

    def __init__(self, image):
        self.pixels, self.data, self.name, self.kept = None, None, None, None
        if isinstance(image, (str, os.PathLike)):
            self.name = os.fspath(image)
            with open(image, "rb") as file:
                self.data = file.read()
        elif isinstance(image, (bytes, bytearray)):
            self.data = bytes(image)
        elif hasattr(image, "convert") and hasattr(image, "getexif"):
            image = _upright(image)
            self._take(image.tobytes(), image.width, image.height)
        else:
            self._take_array(image)

    def _take(self, data, width, height):
        self.kept = data
        if isinstance(data, memoryview):
            address = ctypes.addressof(ctypes.c_char.from_buffer(data))
        else:
            address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        self.pixels = _Image(address, width, height, 3 * width)

    def _take_array(self, array):
        try:
            view = memoryview(array)
        except TypeError:
            raise TypeError(
                f"an image is a {type(array).__name__}, expected a path, bytes, an array of unsigned bytes or a "
                "Pillow image"
            ) from None
        if view.format != "B":
            raise TypeError(f"an image has elements of type {view.format!r}, expected unsigned bytes (uint8)")
        shape = view.shape
        if 0 in shape or len(shape) not in (2, 3):
            raise ValueError(f"an image has shape {shape}, expected (height, width, 3) or (3, height, width)")
        if len(shape) == 3 and shape[2] == 3:
            direct = view.c_contiguous and not view.readonly
            self._take(view.cast("B") if direct else view.tobytes(), shape[1], shape[0])
        elif len(shape) == 3 and shape[0] == 3:
            planes, size = view.tobytes(), shape[1] * shape[2]
            self._take(_interleaved([planes[c * size :][:size] for c in range(3)]), shape[2], shape[1])
        elif len(shape) == 2 or shape[2] == 1:
            self._take(_interleaved([view.tobytes()] * 3), shape[1], shape[0])
        else:
            raise ValueError(f"an image has shape {shape}, expected (height, width, 3) or (3, height, width)")


def _interleaved(planes):
    pixels = bytearray(3 * len(planes[0]))
    for channel, plane in enumerate(planes):
        pixels[channel::3] = plane
    return bytes(pixels)


def _upright(image):
    """A Pillow image as RGB in front of white, turned as its EXIF says."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _listed(images):
    if isinstance(images, (list, tuple)):
        return images
    if getattr(images, "ndim", 3) == 4:
        return [images[index] for index in range(len(images))]
    return [images]


def _count(name, value):
    if value is None:
        return 0
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= value.__index__() < 1 << 32:
        raise ValueError(f"{name} is {value!r}, expected a whole number from 0")
    return value.__index__()


def _number(name, value):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, expected a number from 0 to 1") from None


def _class_names(names, count):
    if isinstance(names, (str, os.PathLike)):
        import json

        with open(names, encoding="utf-8") as file:
            names = json.load(file)
    if isinstance(names, dict):
        names = {int(key): name for key, name in names.items()}
        names = [names.get(class_id) for class_id in range(count)]
    if len(names) != count:
        raise ValueError(f"class_names holds {len(names)} names, the model has {count} classes")
    return list(names)


def _plain(name):
    return "".join(c for c in name.lower() if c.isalnum())


def _spellings(path):
    """What a model may be called by a path, a name or a stub."""
    name = path[4:] if path.startswith("zoo:") else path
    parts = [part for part in name.split("?")[0].split("/") if part]
    last = parts[-1][:-5] if parts and parts[-1].lower().endswith(".onnx") else (parts or [""])[-1]
    spellings = {_plain(last)}
    if len(parts) == 7:
        # DOMAIN/SUB_DOMAIN/ARCHITECTURE-SUB/FRAMEWORK/REPOSITORY/DATASET/TAG
        tag = last[:-5] if last.endswith("-none") else last.replace("-none-", "-")
        spellings.add(_plain(parts[2] + tag))
    return spellings


def _find(path):
    """The compiled model that `model_path` names."""
    held = ", ".join(f"{model['name']} ({model['source']}, sha256 {model['sha256'][:12]})" for model in MODELS)
    if path is None:
        if len(MODELS) > 1:
            raise ValueError(f"model_path: name one of the models of this package: {held}")
        return MODELS[0]
    path = os.fspath(path)
    named = [m for m in MODELS if _spellings(path) & {_plain(m["name"]), _plain(m["source"][: -len(".onnx")])}]
    if os.path.isfile(path) and not any(model["external_data"] for model in named):
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        same = [model for model in MODELS if model["sha256"] == digest]
        if not same and named:
            raise ValueError(
                f"model_path: {path!r} is not the file that is compiled in, {held}; "
                f"build again: peristyle build {path} --emit wheel"
            )
        named = same
    if not named:
        raise ValueError(
            f"model_path: {path!r} is not in this package, which holds {held}; "
            f"build one that has it: peristyle build {os.path.basename(path) or 'MODEL.onnx'} --emit wheel"
        )
    return named[0]
