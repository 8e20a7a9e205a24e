"""Makes the corpus: tiny models, one input each, and what ONNX Runtime computes for it.

Usage: python make.py [CASE ...]        (needs onnx, onnxruntime, numpy)

Every case is a folder with
  model.onnx   the model (and weights.bin where data is external)
  in.npz       arrays by input name, batch 1; float16 inputs are stored as float32
  out.npz      arrays by output name, batch 1; float16 outputs are stored as float32
The archives are uncompressed and reproducible to the byte. Optimisation is off in ONNX Runtime, so that quantised
graphs are computed node by node. Cases named dynamic_* have a symbolic height and width: take them from in.npz.
"""

import io
import pathlib
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = pathlib.Path(__file__).parent
CASES = {}


def case(opset=13, **options):
    def register(f):
        CASES[f.__name__] = (f, opset, options)
        return f

    return register


class Net:
    """Collects nodes and constants; every method returns the name of its result."""

    def __init__(self, opset, seed):
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []
        self.feeds, self.domains, self.metadata, self.count = {}, set(), {}, 0
        self.batch = None

    def name(self, op):
        self.count += 1
        return f"{op.lower()}_{self.count}"

    def input(self, shape, dtype=np.float32, name="x", declared=None, values=None):
        if values is None:
            if dtype == np.uint8:
                values = self.rng.integers(0, 256, shape)
            else:
                values = self.rng.uniform(-2, 2, shape).astype(np.float16)
        self.feeds[name] = np.asarray(values).astype(dtype)
        self.inputs.append(h.make_tensor_value_info(name, h.np_dtype_to_tensor_dtype(np.dtype(dtype)), declared or shape))
        return name

    def const(self, values, dtype=None, name=None):
        array = np.asarray(values, dtype=dtype)
        if array.dtype == np.float64 and dtype is None:
            array = array.astype(np.float32)
        name = name or self.name("const")
        self.constants.append(nh.from_array(array, name))
        return name

    def weights(self, *shape, scale=None):
        fan = int(np.prod(shape[1:])) or 1
        return self.rng.normal(0, scale or fan ** -0.5, shape).astype(np.float32)

    def op(self, op, *inputs, outputs=1, domain=None, **attributes):
        name = self.name(op)
        results = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.const(i) for i in inputs]
        self.nodes.append(h.make_node(op, inputs, results, name=name, domain=domain, **attributes))
        if domain:
            self.domains.add(domain)
        return results[0] if outputs == 1 else results

    def conv(self, x, cin, cout, k=3, bias=True, group=1, **attributes):
        inputs = [x, self.weights(cout, cin // group, k, k)]
        if bias:
            inputs.append(self.weights(cout, scale=0.3))
        return self.op("Conv", *inputs, kernel_shape=[k, k], group=group, **attributes)

    def silu(self, x):
        return self.op("Mul", x, self.op("Sigmoid", x))

    def output(self, *names, dtype=T.FLOAT, rename=None):
        for name in names:
            rename = rename or f"y{len(self.outputs)}"
            self.nodes.append(h.make_node("Identity", [name], [rename]))
            self.outputs.append(h.make_tensor_value_info(rename, dtype, None))
            rename = None

    # Quantisation

    def quantized(self, array, axis=None, dtype=np.int8, symmetric=True):
        """Stored array, scales and zero points."""
        lo, hi = np.iinfo(dtype).min, np.iinfo(dtype).max
        axes = None if axis is None else tuple(a for a in range(array.ndim) if a != axis)
        if symmetric and dtype == np.int8:
            scale = np.abs(array).max(axis=axes) / 127
            zero = np.zeros_like(scale)
        else:
            least, most = np.minimum(array.min(axis=axes), 0), np.maximum(array.max(axis=axes), 0)
            scale = (most - least) / 255
            zero = np.round(lo - least / scale)
        scale, zero = np.float32(scale), np.asarray(zero).astype(dtype)
        shape = [-1 if a == axis else 1 for a in range(array.ndim)]
        s, z = (scale.reshape(shape), zero.astype(np.float32).reshape(shape)) if axis is not None else (scale, np.float32(zero))
        return np.clip(np.round(array / s) + z, lo, hi).astype(dtype), scale, zero

    def qdq(self, x, scale, zero, dtype=np.uint8):
        scale, zero = self.const(np.float32(scale)), self.const(np.asarray(zero, dtype))
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero)

    def dequantized_weight(self, array, axis=None, dtype=np.int8):
        stored, scale, zero = self.quantized(array, axis, dtype)
        attributes = {} if axis is None else {"axis": axis}
        return self.op("DequantizeLinear", stored, scale, zero, **attributes), scale

    def qdq_conv(self, x, cin, cout, k=3, axis=None, x_scale=0.02, x_zero=128, integer_bias=False, **attributes):
        x = self.qdq(x, x_scale, x_zero)
        weight, scale = self.dequantized_weight(self.weights(cout, cin, k, k), axis)
        bias = self.weights(cout, scale=0.3)
        if integer_bias:
            s = (np.float32(x_scale) * scale).astype(np.float32)
            bias = np.round(bias / s).astype(np.int32)
            per_axis = {} if axis is None else {"axis": 0}
            bias = self.op("DequantizeLinear", bias, s, np.zeros_like(s, dtype=np.int32), **per_axis)
        return self.op("Conv", x, weight, bias, kernel_shape=[k, k], **attributes)

    def conv_integer(self, x, cin, cout, x_scale, x_zero, k=3, w_dtype=np.uint8, **attributes):
        """SparseML's form: u8 weights around 128, int32 bias, cast, one scale."""
        stored, scale, zero = self.quantized(self.weights(cout, cin, k, k), None, np.int8)
        if w_dtype == np.uint8:
            stored, zero = (stored.astype(np.int32) + 128).astype(np.uint8), np.uint8(128)
        y = self.op("ConvInteger", x, stored, np.uint8(x_zero), zero, kernel_shape=[k, k], **attributes)
        bias = np.round(self.weights(1, cout, 1, 1, scale=0.3) / (x_scale * scale)).astype(np.int32)
        y = self.op("Cast", self.op("Add", y, bias), to=T.FLOAT)
        return self.op("Mul", y, np.float32(x_scale * scale))


# Convolutions


@case()
def conv_stride_asymmetric_pads(n):
    n.output(n.conv(n.input([1, 3, 13, 11]), 3, 8, strides=[2, 1], pads=[1, 0, 2, 1]))


@case(opset=11)
def conv_same_upper_no_bias(n):
    n.output(n.conv(n.input([1, 3, 9, 8]), 3, 6, bias=False, strides=[2, 2], auto_pad="SAME_UPPER"))


@case(opset=11)
def conv_same_lower(n):
    n.output(n.conv(n.input([1, 2, 10, 7]), 2, 5, k=4, strides=[3, 2], auto_pad="SAME_LOWER"))


@case(opset=17)
def conv_depthwise_dilated(n):
    x = n.conv(n.input([1, 6, 12, 12]), 6, 6, group=6, pads=[2, 2, 2, 2], dilations=[2, 2])
    n.output(n.conv(x, 6, 10, k=1))


@case(opset=21)
def conv_grouped_valid(n):
    n.output(n.conv(n.input([1, 8, 7, 9]), 8, 4, group=2, auto_pad="VALID"))


@case()
def conv_batch_norm_relu6(n):
    x = n.conv(n.input([1, 3, 8, 8]), 3, 8, bias=False, pads=[1] * 4)
    x = n.op("BatchNormalization", x, n.weights(8, scale=1), n.weights(8), n.weights(8), np.abs(n.weights(8)) + 0.1, epsilon=1e-3)
    n.output(n.op("Clip", x, np.float32(0), np.float32(6)))


# Elementwise


@case(opset=10)
def clip_attributes(n):
    n.output(n.op("Clip", n.input([1, 2, 4, 4]), min=-0.5, max=1.0))


@case(opset=14)
def activations(n):
    x = n.input([1, 4, 5, 5])
    x = n.op("Mul", x, np.float32(3))
    for y in [
        n.op("Relu", x),
        n.op("LeakyRelu", x, alpha=0.1),
        n.op("HardSwish", x),
        n.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
        n.op("Sigmoid", x),
        n.op("PRelu", x, np.full([4, 1, 1], 0.25, np.float32)),
        n.op("Clip", x, "", np.float32(1)),
        n.op("Neg", x),
    ]:
        n.output(y)


@case()
def binary_broadcast(n):
    x = n.input([1, 3, 4, 5])
    y = n.input([1, 3, 1, 1], name="z")
    positive = n.op("Add", n.op("Relu", x), np.float32(0.5))
    for result in [
        n.op("Add", x, y),
        n.op("Sub", n.weights(4, 5), x),
        n.op("Mul", x, n.weights(3, 1, 1)),
        n.op("Div", x, positive),
        n.op("Pow", positive, np.int64(3)),
        n.op("Max", x, y, np.float32(-0.25)),
        n.op("Min", x, y),
        n.op("Sum", x, y, positive),
        n.op("Reciprocal", positive),
    ]:
        n.output(result)


@case(opset=17)
def silu_bottleneck(n):
    x = n.input([1, 8, 10, 10])
    y = n.silu(n.conv(n.silu(n.conv(x, 8, 4, k=1)), 4, 8, pads=[1] * 4))
    n.output(n.op("Concat", n.op("Add", x, y), x, axis=1))


# Pools, resizing, padding


@case()
def max_pool_ceil(n):
    x = n.input([1, 3, 11, 10])
    n.output(n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    n.output(n.op("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 0, 1], ceil_mode=1))


@case(opset=11)
def max_pool_same(n):
    x = n.input([1, 2, 7, 7])
    n.output(n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"))
    n.output(n.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER"))


@case()
def spatial_pyramid(n):
    x = n.silu(n.conv(n.input([1, 4, 8, 8]), 4, 4, k=1))
    pools = [x]
    for _ in range(3):
        pools.append(n.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    n.output(n.conv(n.op("Concat", *pools, axis=1), 16, 6, k=1))


@case(opset=19)
def average_pool(n):
    x = n.input([1, 3, 9, 8])
    n.output(n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    n.output(n.op("AveragePool", x, kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 1], count_include_pad=1))
    n.output(n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 3], ceil_mode=1))


@case()
def global_pools(n):
    x = n.input([1, 6, 5, 7])
    n.output(n.op("GlobalAveragePool", x))
    n.output(n.op("GlobalMaxPool", x))
    n.output(n.op("ReduceMean", x, axes=[2, 3], keepdims=0))
    n.output(n.op("ReduceMean", x, axes=[-1, -2], keepdims=1))
    n.output(n.op("ReduceMean", n.op("Flatten", x, axis=2), axes=[1], keepdims=1))


@case(opset=18)
def reduce_mean_axes_input(n):
    x = n.input([1, 6, 5, 7])
    n.output(n.op("ReduceMean", x, np.int64([2, 3]), keepdims=1))
    n.output(n.op("ReduceMax", x, np.int64([2, 3]), keepdims=0))


@case(opset=9)
def upsample_opset9(n):
    n.output(n.op("Upsample", n.input([1, 3, 4, 5]), np.float32([1, 1, 2, 2]), mode="nearest"))


@case(opset=10)
def resize_opset10(n):
    n.output(n.op("Resize", n.input([1, 3, 4, 5]), np.float32([1, 1, 2, 3]), mode="nearest"))


@case(opset=11)
def resize_scales_asymmetric(n):
    x = n.input([1, 3, 4, 5])
    n.output(n.op("Resize", x, np.float32([]), np.float32([1, 1, 2, 2]), mode="nearest",
                  coordinate_transformation_mode="asymmetric", nearest_mode="floor", cubic_coeff_a=-0.75))


@case()
def resize_sizes_half_pixel(n):
    x = n.input([1, 3, 3, 5])
    n.output(n.op("Resize", x, "", "", np.int64([1, 3, 9, 10]), mode="nearest"))


@case(opset=18)
def resize_axes(n):
    x = n.input([1, 3, 3, 5])
    n.output(n.op("Resize", x, "", np.float32([2, 4]), mode="nearest", axes=[3, 2],
                  coordinate_transformation_mode="pytorch_half_pixel"))


@case()
def pad_before_window(n):
    x = n.input([1, 3, 8, 8])
    border = np.int64([0, 0, 0, 0, 0, 0, 1, 1])
    y = n.conv(n.op("Pad", x, border), 3, 6, strides=[2, 2])
    y = n.op("Relu", y)
    n.output(n.op("MaxPool", n.op("Pad", y, np.int64([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0)), kernel_shape=[3, 3], strides=[2, 2]))
    n.output(n.op("AveragePool", n.op("Pad", x, border), kernel_shape=[3, 3], strides=[2, 2]))


# Shapes


@case(opset=12)
def focus(n):
    x = n.input([1, 3, 12, 16])
    parts = []
    for row, column in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        part = n.op("Slice", x, np.int64([row]), np.int64([2**63 - 1]), np.int64([2]), np.int64([2]))
        parts.append(n.op("Slice", part, np.int64([column]), np.int64([2**63 - 1]), np.int64([3]), np.int64([2])))
    n.output(n.silu(n.conv(n.op("Concat", *parts, axis=1), 12, 8, pads=[1] * 4)))


@case(opset=9)
def slice_attributes(n):
    n.output(n.op("Slice", n.input([1, 4, 6, 6]), axes=[1, 3], starts=[1, -5], ends=[3, 100]))


@case(opset=11)
def split_squeeze_attributes(n):
    x = n.input([1, 7, 4, 4])
    a, b, c = n.op("Split", x, outputs=3, axis=1, split=[2, 4, 1])
    n.output(n.op("Squeeze", c, axes=[1]), n.op("Unsqueeze", a, axes=[0, 3]))
    d, e = n.op("Split", b, outputs=2, axis=-1)
    n.output(n.op("Mul", d, e))


@case(opset=18)
def split_squeeze_inputs(n):
    x = n.input([1, 7, 4, 4])
    a, b, c = n.op("Split", x, outputs=3, axis=1, num_outputs=3)
    d, e = n.op("Split", x, np.int64([3, 4]), outputs=2, axis=1)
    n.output(n.op("Squeeze", c, np.int64([1])), n.op("Unsqueeze", a, np.int64([1])), b, d, e)


@case()
def gather_transpose_depth_to_space(n):
    x = n.input([1, 8, 4, 6])
    n.output(n.op("Gather", x, np.int64(2), axis=1))
    n.output(n.op("Gather", x, np.int64([1, 3, 5]), axis=-1))
    n.output(n.op("Transpose", x, perm=[0, 2, 3, 1]))
    n.output(n.op("DepthToSpace", x, blocksize=2))
    n.output(n.op("DepthToSpace", x, blocksize=2, mode="CRD"))
    n.output(n.op("SpaceToDepth", x, blocksize=2))
    shuffled = n.op("Transpose", n.op("Reshape", x, np.int64([0, 2, 4, 4, 6])), perm=[0, 2, 1, 3, 4])
    n.output(n.op("Reshape", shuffled, np.int64([0, -1, 4, 6])))


@case()
def identity_dropout_constants(n):
    x = n.op("Identity", n.op("Dropout", n.input([1, 3, 4, 4])))
    scale = n.op("Constant", value=nh.from_array(np.float32([[[1.5]], [[2]], [[-1]]])))
    shift = n.op("Constant", value_float=0.25)
    y = n.op("Add", n.op("Mul", x, scale), shift)
    n.output(y)


@case()
def shape_arithmetic(n):
    x = n.input([1, 6, 4, 8])
    shape = n.op("Shape", x)
    batch, height, width = (n.op("Gather", shape, np.int64(i), axis=0) for i in (0, 2, 3))
    area = n.op("Unsqueeze", n.op("Mul", height, width), np.int64([0]))
    half = n.op("Cast", n.op("Floor", n.op("Div", n.op("Cast", height, to=T.FLOAT), np.float32(2))), to=T.INT64)
    batch = n.op("Unsqueeze", batch, np.int64([0]))
    n.output(n.op("Reshape", x, n.op("Concat", batch, np.int64([-1]), area, axis=0)))
    n.output(n.op("Slice", x, np.int64([0]), n.op("Unsqueeze", half, np.int64([0])), np.int64([2])))
    grid = n.op("Range", np.int64(0), width, np.int64(1))
    odd = n.op("Equal", n.op("Mod", grid, np.int64(2)), np.int64(1))
    table = n.op("Where", odd, np.float32(2), n.op("ConstantOfShape", n.op("Slice", shape, np.int64([3]), np.int64([4]))))
    n.output(n.op("Mul", x, n.op("Expand", table, n.op("Concat", np.int64([4]), n.op("Slice", shape, np.int64([3]), np.int64([4])), axis=0))))


# Detection heads


def decode(n, raw, levels, classes=3, scatter=False):
    """The head of YOLOv5: static grids, or assignment in place as in v5.0."""
    outputs, results = 5 + classes, []
    for x, (rows, columns, stride, anchors) in zip(raw, levels):
        x = n.op("Reshape", x, np.int64([1, 3, outputs, rows, columns]))
        s = n.op("Sigmoid", n.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
        gy, gx = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        grid = np.broadcast_to(np.stack([gx, gy], -1) - 0.5, [1, 3, rows, columns, 2]).astype(np.float32)
        anchors = np.broadcast_to(np.float32(anchors).reshape(1, 3, 1, 1, 2), [1, 3, rows, columns, 2]).copy()
        if scatter:
            take = lambda a, b: n.op("Slice", s, np.int64([a]), np.int64([b]), np.int64([4]), np.int64([1]))
            xy = n.op("Mul", n.op("Add", n.op("Sub", n.op("Mul", take(0, 2), np.float32(2)), np.float32(0.5)), grid + 0.5), np.float32(stride))
            index = np.stack(np.meshgrid(*map(np.arange, [1, 3, rows, columns, 2]), indexing="ij"), -1).astype(np.int64)
            s = n.op("ScatterND", s, index, xy)
            wh = n.op("Mul", n.op("Pow", n.op("Mul", take(2, 4), np.float32(2)), np.float32(2)), anchors)
            s = n.op("ScatterND", s, index + np.int64([0, 0, 0, 0, 2]), wh)
        else:
            split = {"split": [2, 2, outputs - 4]} if n.opset < 13 else {}
            parts = [np.int64([2, 2, outputs - 4])] if n.opset >= 13 else []
            xy, wh, rest = n.op("Split", s, *parts, outputs=3, axis=4, **split)
            xy = n.op("Mul", n.op("Add", n.op("Mul", xy, np.float32(2)), grid), np.float32(stride))
            wh = n.op("Mul", n.op("Pow", n.op("Mul", wh, np.float32(2)), np.float32(2)), anchors)
            s = n.op("Concat", xy, wh, rest, axis=4)
        results.append(n.op("Reshape", s, np.int64([1, -1, outputs])))
    return n.op("Concat", *results, axis=1)


def backbone(n, size=(16, 16), declared=None):
    x = n.input([1, 3, *size], name="images", declared=declared)
    a = n.silu(n.conv(x, 3, 8, strides=[2, 2], pads=[1] * 4))
    b = n.silu(n.conv(a, 8, 8, strides=[2, 2], pads=[1] * 4))
    c = n.silu(n.conv(b, 8, 8, strides=[2, 2], pads=[1] * 4))
    up = n.op("Resize", c, "", np.float32([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor") \
        if n.opset >= 13 else n.op("Resize", c, np.float32([]), np.float32([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    p = n.silu(n.conv(n.op("Concat", up, b, axis=1), 16, 8, k=1))
    n.metadata = {"names": "{0: 'person', 1: \"driver's cab\", 2: 'dog'}", "stride": "8"}
    return [n.conv(p, 8, 24, k=1), n.conv(c, 8, 24, k=1)]


LEVELS = [(4, 4, 4.0, [[10, 13], [16, 30], [33, 23]]), (2, 2, 8.0, [[30, 61], [62, 45], [59, 119]])]


@case()
def detector_decoded(n):
    n.output(decode(n, backbone(n), LEVELS), rename="output0")


@case(opset=11)
def detector_scatter(n):
    n.output(decode(n, backbone(n), LEVELS, scatter=True), rename="output0")


@case(opset=12)
def detector_raw_heads(n):
    for raw, (rows, columns, *_) in zip(backbone(n), LEVELS):
        raw = n.op("Reshape", raw, np.int64([1, 3, 8, rows, columns]))
        n.output(n.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))


@case(opset=17)
def dynamic_detector(n):
    results = []
    for raw, (_, _, stride, anchors) in zip(backbone(n, (16, 24), ["batch", 3, "height", "width"]), LEVELS):
        extent = lambda i: n.op("Gather", n.op("Shape", raw), np.int64(i), axis=0)
        u = lambda v: n.op("Unsqueeze", v, np.int64([0]))
        bs, ny, nx = extent(0), extent(2), extent(3)
        x = n.op("Reshape", raw, n.op("Concat", u(bs), np.int64([3]), np.int64([8]), u(ny), u(nx), axis=0))
        s = n.op("Sigmoid", n.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
        axis = lambda e: n.op("Range", np.float32(0), n.op("Cast", e, to=T.FLOAT), np.float32(1))
        gy, gx = n.op("Reshape", axis(ny), np.int64([-1, 1])), n.op("Reshape", axis(nx), np.int64([1, -1]))
        square = n.op("Concat", u(ny), u(nx), axis=0)
        plane = lambda g: n.op("Unsqueeze", n.op("Expand", g, square), np.int64([2]))
        grid = n.op("Concat", plane(gx), plane(gy), axis=2)
        shape = n.op("Reshape", n.op("Concat", np.int64([1]), np.int64([3]), u(ny), u(nx), np.int64([2]), axis=0), np.int64([-1]))
        ones = n.op("ConstantOfShape", n.op("Shape", shape), value=nh.from_array(np.int64([1])))
        shape = n.op("Where", n.op("Equal", shape, n.op("Mul", ones, np.int64(-1))), ones, shape)
        grid = n.op("Sub", n.op("Expand", grid, shape), np.float32(0.5))
        anchor = n.op("Expand", np.float32(anchors).reshape(1, 3, 1, 1, 2), shape)
        xy, wh, rest = n.op("Split", s, np.int64([2, 2, 4]), outputs=3, axis=4)
        xy = n.op("Mul", n.op("Add", n.op("Mul", xy, np.float32(2)), grid), np.float32(stride))
        wh = n.op("Mul", n.op("Pow", n.op("Mul", wh, np.float32(2)), np.float32(2)), anchor)
        s = n.op("Concat", xy, wh, rest, axis=4)
        cells = n.op("Mul", n.op("Mul", nx, np.int64(3)), ny)
        results.append(n.op("Reshape", s, n.op("Concat", u(bs), u(cells), np.int64([8]), axis=0)))
    n.output(n.op("Concat", *results, axis=1), rename="output0")


@case()
def batch_baked(n):
    """Exported with batch 4: shapes and a table carry it."""
    n.batch = 4
    x = n.input([4, 3, 8, 8], values=np.repeat(n.rng.uniform(-2, 2, [1, 3, 8, 8]).astype(np.float16), 4, 0))
    y = n.conv(x, 3, 12, pads=[1] * 4)
    y = n.op("Transpose", n.op("Reshape", y, np.int64([4, 3, 4, 8, 8])), perm=[0, 1, 3, 4, 2])
    y = n.op("Add", y, np.repeat(n.weights(1, 3, 8, 8, 4), 4, 0))
    n.output(n.op("Reshape", y, np.int64([4, -1, 4])))


@case()
def batch_symbolic(n):
    x = n.input([1, 3, 8, 8], declared=["N", 3, 8, 8])
    y = n.op("GlobalAveragePool", n.conv(x, 3, 12))
    n.output(n.op("Reshape", y, np.int64([-1, 12])))


# Classifiers, products


@case(opset=17)
def resnet_block(n):
    x = n.op("Relu", n.conv(n.input([1, 3, 16, 16]), 3, 8, k=3, strides=[2, 2], pads=[1] * 4))
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = n.conv(n.op("Relu", n.conv(x, 8, 12, strides=[2, 2], pads=[1] * 4)), 12, 12, pads=[1] * 4)
    x = n.op("Relu", n.op("Add", y, n.conv(x, 8, 12, k=1, strides=[2, 2])))
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    n.output(n.op("Gemm", x, n.weights(10, 12), n.weights(10), transB=1))


@case()
def mobilenet_block(n):
    x = n.op("HardSwish", n.input([1, 8, 12, 12])) if n.opset >= 14 else n.input([1, 8, 12, 12])
    y = n.op("Clip", n.conv(x, 8, 16, k=1), np.float32(0), np.float32(6))
    y = n.op("Clip", n.conv(y, 16, 16, group=16, pads=[1] * 4), np.float32(0), np.float32(6))
    s = n.op("ReduceMean", y, axes=[2, 3], keepdims=1)
    s = n.op("HardSigmoid", n.conv(n.op("Relu", n.conv(s, 16, 4, k=1)), 4, 16, k=1))
    x = n.op("Add", x, n.conv(n.op("Mul", y, s), 16, 8, k=1))
    x = n.op("Reshape", n.op("GlobalAveragePool", x), np.int64([1, 8]))
    n.output(n.op("Softmax", n.op("Gemm", x, n.weights(8, 10), n.weights(10), alpha=0.5, beta=2.0), axis=1))


@case()
def gemm_forms(n):
    x = n.input([1, 12])
    n.output(n.op("Gemm", x, n.weights(7, 12), transB=1))
    n.output(n.op("Gemm", x, n.weights(12, 7), np.float32([0.5]), beta=3.0))
    n.output(n.op("Gemm", n.op("Reshape", x, np.int64([3, 4])), n.weights(4, 5), n.weights(1, 5)))
    n.output(n.op("Add", n.op("MatMul", x, n.weights(12, 5)), n.weights(5)))
    n.output(n.op("MatMul", n.op("Reshape", x, np.int64([1, 1, 12])), n.weights(12, 3)))


@case(opset=11)
def softmax_opset11(n):
    x = n.input([1, 3, 4, 5])
    n.output(n.op("Softmax", x), n.op("Softmax", x, axis=3), n.op("Softmax", x, axis=2))


@case(opset=17)
def attention(n):
    x = n.op("Reshape", n.conv(n.input([1, 3, 4, 4]), 3, 24, k=1), np.int64([1, 2, 12, 16]))
    q, k, v = n.op("Split", x, np.int64([4, 4, 4]), outputs=3, axis=2)
    scores = n.op("Mul", n.op("MatMul", n.op("Transpose", q, perm=[0, 1, 3, 2]), k), np.float32(0.5))
    y = n.op("MatMul", v, n.op("Transpose", n.op("Softmax", scores), perm=[0, 1, 3, 2]))
    n.output(n.op("Reshape", y, np.int64([1, 8, 4, 4])))


# Quantised forms


@case()
def qdq_per_tensor(n):
    x = n.silu(n.qdq_conv(n.input([1, 3, 12, 12]), 3, 8, x_scale=1 / 64, strides=[2, 2], pads=[1] * 4))
    n.output(n.qdq_conv(x, 8, 6, k=1, x_scale=0.01, x_zero=30))


@case()
def qdq_per_channel(n):
    x = n.op("Relu", n.qdq_conv(n.input([1, 3, 12, 12]), 3, 8, axis=0, x_scale=1 / 64, integer_bias=True, pads=[1] * 4))
    n.output(n.qdq_conv(x, 8, 6, k=1, axis=0, x_scale=0.01, x_zero=0, integer_bias=True))


@case()
def qdq_residual_concat(n):
    x = n.qdq(n.input([1, 8, 8, 8]), 1 / 64, 128)
    w = n.dequantized_weight(n.weights(8, 8, 3, 3))[0]
    y = n.qdq(n.op("Relu", n.op("Conv", x, w, n.weights(8), pads=[1] * 4)), 0.01, 0)
    y = n.qdq(n.op("Add", x, y), 0.02, 100)
    y = n.qdq(n.op("Concat", x, y, axis=1), 0.02, 100)
    y = n.op("MaxPool", n.op("QuantizeLinear", y, np.float32(0.02), np.uint8(100)), kernel_shape=[2, 2], strides=[2, 2])
    n.output(n.op("DequantizeLinear", y, np.float32(0.02), np.uint8(100)))


@case()
def qdq_signed_activations(n):
    x = n.qdq(n.input([1, 4, 8, 8]), 1 / 60, 0, np.int8)
    w = n.dequantized_weight(n.weights(6, 4, 3, 3), axis=0)[0]
    n.output(n.qdq(n.op("Conv", x, w, n.weights(6)), 1 / 40, -5, np.int8))


@case(opset=21)
def qdq_opset21(n):
    scale = n.const(np.float32(1 / 64))
    q = n.op("QuantizeLinear", n.input([1, 4, 8, 8]), scale, output_dtype=T.INT8)
    x = n.op("DequantizeLinear", q, scale)
    n.output(n.op("Conv", x, n.dequantized_weight(n.weights(6, 4, 3, 3))[0]))


@case()
def qdq_float_weights(n):
    """Weights stored as floats and quantised in the graph."""
    x = n.qdq(n.input([1, 4, 6, 6]), 1 / 64, 128)
    w = n.weights(6, 4, 3, 3)
    scale = np.abs(w).max(axis=(1, 2, 3)) / 127
    s, z = n.const(scale), n.const(np.zeros(6, np.int8))
    w = n.op("DequantizeLinear", n.op("QuantizeLinear", w, s, z, axis=0), s, z, axis=0)
    n.output(n.op("Conv", x, w))


@case()
def qdq_gemm(n):
    x = n.qdq(n.input([1, 12]), 1 / 64, 128)
    w = n.dequantized_weight(n.weights(7, 12), axis=0)[0]
    y = n.op("Gemm", x, w, n.weights(7), transB=1)
    w = n.dequantized_weight(n.weights(7, 5), axis=1)[0]
    n.output(n.op("MatMul", n.qdq(y, 1 / 40, 120), w))


@case()
def qdq_pad(n):
    x = n.qdq(n.op("Pad", n.input([1, 4, 6, 6]), np.int64([0, 0, 0, 0, 0, 0, 1, 1])), 1 / 64, 128)
    n.output(n.op("Conv", x, n.dequantized_weight(n.weights(6, 4, 3, 3))[0], strides=[2, 2]))


@case()
def conv_integer_silu(n):
    x = n.input([1, 3, 12, 12], np.uint8, name="images")
    x = n.silu(n.conv_integer(x, 3, 8, 1 / 255, 0, strides=[2, 2], pads=[1] * 4))
    q = n.op("QuantizeLinear", x, np.float32(0.01), np.uint8(28))
    n.output(n.conv_integer(q, 8, 6, 0.01, 28, k=1))


@case()
def conv_integer_forms(n):
    x = n.input([1, 4, 7, 7], np.uint8)
    w = n.rng.integers(-127, 128, [6, 4, 3, 3]).astype(np.int8)
    n.output(n.op("ConvInteger", x, w), n.op("ConvInteger", x, w, np.uint8(100), pads=[1] * 4), dtype=T.INT32)


def q(n, x, scale=1 / 64, zero=128, dtype=np.uint8):
    return n.op("QuantizeLinear", x, np.float32(scale), dtype(zero))


@case()
def qlinear_conv(n):
    x = q(n, n.input([1, 4, 8, 8]))
    w, ws, wz = n.quantized(n.weights(6, 4, 3, 3), 0)
    bias = np.round(n.weights(6) / (ws / 64)).astype(np.int32)
    y = n.op("QLinearConv", x, np.float32(1 / 64), np.uint8(128), w, ws, wz, np.float32(1 / 30), np.uint8(120), bias, pads=[1] * 4)
    w, ws, wz = n.quantized(n.weights(5, 6, 1, 1), None)
    y = n.op("QLinearConv", y, np.float32(1 / 30), np.uint8(120), w, ws, wz, np.float32(1 / 30), np.uint8(128))
    n.output(y, dtype=T.UINT8)


@case()
def qlinear_operators(n):
    ms = {"domain": "com.microsoft"}
    s = lambda scale, zero: (np.float32(scale), np.uint8(zero))
    a, b = q(n, n.input([1, 4, 6, 6])), q(n, n.input([1, 4, 6, 6], name="z"))
    total = n.op("QLinearAdd", a, *s(1 / 64, 128), b, *s(1 / 64, 128), *s(1 / 32, 128), **ms)
    product = n.op("QLinearMul", total, *s(1 / 32, 128), b, *s(1 / 64, 128), *s(1 / 16, 128), **ms)
    gate = n.op("QLinearSigmoid", product, *s(1 / 16, 128), *s(1 / 256, 0), **ms)
    leaky = n.op("QLinearLeakyRelu", product, *s(1 / 16, 128), *s(1 / 20, 100), alpha=0.1, **ms)
    joined = n.op("QLinearConcat", *s(1 / 16, 100), gate, *s(1 / 256, 0), leaky, *s(1 / 20, 100), axis=1, **ms)
    pooled = n.op("QLinearAveragePool", joined, *s(1 / 16, 100), *s(1 / 32, 100), kernel_shape=[2, 2], strides=[2, 2], **ms)
    means = n.op("QLinearGlobalAveragePool", pooled, *s(1 / 32, 100), *s(1 / 32, 100), **ms)
    n.output(total, product, gate, leaky, joined, pooled, means, dtype=T.UINT8)


@case()
def qlinear_products(n):
    x = q(n, n.input([1, 12]))
    w, ws, wz = n.quantized(n.weights(12, 7), None)
    y = n.op("QLinearMatMul", x, np.float32(1 / 64), np.uint8(128), w, ws, wz, np.float32(1 / 40), np.uint8(128))
    w, ws, wz = n.quantized(n.weights(5, 7), 0)
    bias = np.round(n.weights(5) / (ws / 40)).astype(np.int32)
    n.output(y, dtype=T.UINT8)
    n.output(n.op("QGemm", y, np.float32(1 / 40), np.uint8(128), w, ws, wz, bias, np.float32(1 / 30), np.uint8(128), transB=1, domain="com.microsoft"), dtype=T.UINT8)


# Encodings


@case()
def float16_model(n):
    x = n.input([1, 3, 8, 8], np.float16)
    w, b = n.weights(6, 3, 3, 3).astype(np.float16), n.weights(6).astype(np.float16)
    y = n.op("Conv", x, w, b, pads=[1] * 4)
    n.output(n.op("Mul", y, n.op("Sigmoid", y)), dtype=T.FLOAT16)


@case()
def float16_islands(n):
    y = n.op("Cast", n.input([1, 3, 8, 8]), to=T.FLOAT16)
    y = n.op("Conv", y, n.weights(6, 3, 3, 3).astype(np.float16))
    n.output(n.op("Cast", y, to=T.FLOAT))


@case()
def narrow_encodings(n):
    """Constants of other float types, and in the typed fields."""
    x = n.input([1, 2, 4, 4])
    bits = (n.weights(2, 1, 1).view(np.uint32) >> 16).astype(np.uint16)
    n.constants.append(h.make_tensor("bf16", T.BFLOAT16, [2, 1, 1], bits.tobytes(), raw=True))
    n.constants.append(h.make_tensor("f16", T.FLOAT16, [2, 1, 1], [1.5, -0.25]))
    n.constants.append(h.make_tensor("f32", T.FLOAT, [2, 1, 1], [0.1, 0.2]))
    n.constants.append(h.make_tensor("f64", T.DOUBLE, [2, 1, 1], [3.0, -0.7]))
    n.constants.append(h.make_tensor("i32", T.INT32, [1], [3]))
    n.constants.append(h.make_tensor("i8", T.INT8, [1], [-3]))
    n.constants.append(h.make_tensor("u8", T.UINT8, [1], [200]))
    for name in ["bf16", "f16", "f32", "f64", "i32", "i8", "u8"]:
        x = n.op("Mul" if name in ("bf16", "f32") else "Add", x, n.op("Cast", name, to=T.FLOAT) if name != "f32" else name)
    n.output(x)


@case(external=True)
def external_data(n):
    n.output(n.conv(n.silu(n.conv(n.input([1, 3, 8, 8]), 3, 8)), 8, 4))


# Making


def write_npz(path, arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def make(name):
    build, opset, options = CASES[name]
    n = Net(opset, sum(name.encode()))
    build(n)
    graph = h.make_graph(n.nodes, name, n.inputs, n.outputs, n.constants)
    opsets = [h.make_opsetid("", opset)] + [h.make_opsetid(d, 1) for d in sorted(n.domains)]
    model = h.make_model(graph, opset_imports=opsets, producer_name="corpus", ir_version=10 if opset >= 21 else 8)
    h.set_model_props(model, n.metadata) if n.metadata else None
    session_options = ort.SessionOptions()
    session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), session_options, providers=["CPUExecutionProvider"])
    outputs = dict(zip([o.name for o in n.outputs], session.run(None, n.feeds)))
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    for o in model.graph.output:
        o.CopyFrom(h.make_tensor_value_info(o.name, o.type.tensor_type.elem_type, outputs[o.name].shape))
        if name.startswith(("dynamic", "batch_symbolic")):
            o.type.tensor_type.ClearField("shape")
    if options.get("external"):
        onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
        (folder / "weights.bin").unlink(missing_ok=True)
        onnx.save_model(model, folder / "model.onnx")
    else:
        (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    plain = lambda a: (a.astype(np.float32) if a.dtype == np.float16 else a)[: 1 if n.batch else None]
    write_npz(folder / "in.npz", {k: plain(v) for k, v in n.feeds.items()})
    write_npz(folder / "out.npz", {k: plain(v) for k, v in outputs.items()})
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {len(model.graph.node)} nodes, {size} bytes, " + ", ".join(f"{k} {v.shape}" for k, v in outputs.items()))


for chosen in sys.argv[1:] or CASES:
    make(chosen)
