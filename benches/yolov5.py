#!/usr/bin/env python3
"""Writes networks of the shape of YOLOv5 (v6) with random weights, for builds and timings of any size.

    python3 yolov5.py x --zeros 0.8 --int8 -o yolov5x.onnx

They find nothing, but compile, and cost what trained ones cost: layers, shapes, share of zeros. `--block 4` zeroes input
channels by fours. Needs `onnx` and `numpy`.
"""
import argparse
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Depth and width multiples.
SIZES = {"n": (1 / 3, 1 / 4), "s": (1 / 3, 1 / 2), "m": (2 / 3, 3 / 4), "l": (1.0, 1.0), "x": (4 / 3, 5 / 4)}
ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
STRIDES = [8, 16, 32]


class Network:
    """Nodes in the making; every method returns the name of its result."""

    def __init__(self, args):
        self.args, self.random = args, np.random.default_rng(0)
        self.depth, self.width = SIZES[args.size]
        self.nodes, self.constants, self.channels = [], [], {"images": 3}

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op, inputs, name, channels=None, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.channels[name] = channels
        return name

    def scaled(self, channels):
        return int(np.ceil(channels * self.width / 8) * 8)

    def repeated(self, n):
        return max(round(n * self.depth), 1)

    def weights(self, shape):
        """Normal, with the smallest magnitudes zeroed, such that sums keep the variance of what they sum."""
        w = self.random.standard_normal(shape, dtype=np.float32)
        out, channels, *_ = shape
        block = self.args.block if channels % self.args.block == 0 else 1
        size = np.abs(w).reshape(out, channels // block, block, -1).sum(2, keepdims=True)
        w *= np.repeat(size > np.quantile(size, self.args.zeros), block, 2).reshape(shape)
        return w * np.float32(1.5 / np.sqrt(max((w**2).sum() / out, 1e-9)))

    def conv(self, x, name, out, k=1, s=1, p=None, act=True):
        w = self.weights((out, self.channels[x], k, k))
        bias = self.constant(f"{name}.bias", np.zeros(out, np.float32))
        if self.args.int8:
            scale, zero = (1 / 255, 0) if x == "images" else (8 / 255, 12)
            step = np.float32(np.abs(w).max() / 127)
            q = [self.constant(f"{name}.input.scale", np.float32(scale)), self.constant(f"{name}.input.zero", np.uint8(zero))]
            x = self.node("QuantizeLinear", [x, *q], f"{name}.input.q")
            x = self.node("DequantizeLinear", [x, *q], f"{name}.input.dq")
            w = [self.constant(f"{name}.weight", np.round(w / step).astype(np.int8)),
                 self.constant(f"{name}.weight.scale", step), self.constant(f"{name}.weight.zero", np.int8(0))]
            w = self.node("DequantizeLinear", w, f"{name}.weight.dq")
        else:
            w = self.constant(f"{name}.weight", w)
        pads = [k // 2 if p is None else p] * 4
        y = self.node("Conv", [x, w, bias], f"/{name}/Conv", out, kernel_shape=[k, k], strides=[s, s], pads=pads)
        if not act:
            return y
        return self.node("Mul", [y, self.node("Sigmoid", [y], f"/{name}/Sigmoid")], f"/{name}/Mul", out)

    def concat(self, parts, name):
        return self.node("Concat", parts, f"/{name}/Concat", sum(self.channels[p] for p in parts), axis=1)

    def c3(self, x, name, out, n, shortcut=True):
        hidden = out // 2
        y = self.conv(x, f"{name}.cv1", hidden)
        for i in range(self.repeated(n)):
            z = self.conv(self.conv(y, f"{name}.m.{i}.cv1", hidden), f"{name}.m.{i}.cv2", hidden, 3)
            y = self.node("Add", [y, z], f"/{name}/m.{i}/Add", hidden) if shortcut else z
        return self.conv(self.concat([y, self.conv(x, f"{name}.cv2", hidden)], name), f"{name}.cv3", out)

    def sppf(self, x, name, out):
        parts = [self.conv(x, f"{name}.cv1", self.channels[x] // 2)]
        for i in range(3):
            pooled = dict(kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)
            parts.append(self.node("MaxPool", parts[-1:], f"/{name}/MaxPool.{i}", self.channels[parts[0]], **pooled))
        return self.conv(self.concat(parts, name), f"{name}.cv2", out)

    def upsample(self, x, name):
        scales = self.constant(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        how = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        return self.node("Resize", [x, "", scales], f"/{name}/Resize", self.channels[x], **how)

    def detect(self, maps, classes):
        rows = [self.level(x, i, classes + 5) for i, x in enumerate(maps)]
        return self.node("Concat", rows, "output0", axis=1)

    def level(self, x, i, outputs):
        name, n = f"model.24.m.{i}", self.args.imgsz // STRIDES[i]
        shape = lambda dims, what: self.constant(f"{name}.{what}", np.array(dims, np.int64))
        f32 = lambda value, what: self.constant(f"{name}.{what}", np.asarray(value, np.float32))
        y = self.conv(x, name, 3 * outputs, act=False)
        y = self.node("Reshape", [y, shape([1, 3, outputs, n, n], "shape")], f"/{name}/Reshape")
        y = self.node("Sigmoid", [self.node("Transpose", [y], f"/{name}/Transpose", perm=[0, 1, 3, 4, 2])], f"/{name}/Sigmoid")
        parts = [f"/{name}/{part}" for part in ("xy", "wh", "scores")]
        self.nodes.append(helper.make_node("Split", [y, shape([2, 2, outputs - 4], "split")], parts, axis=4))
        grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1)[None, None] - 0.5
        xy = self.node("Mul", [parts[0], f32(2, "two")], f"/{name}/xy2")
        xy = self.node("Add", [xy, f32(grid, "grid")], f"/{name}/centre")
        xy = self.node("Mul", [xy, f32(STRIDES[i], "stride")], f"/{name}/pixels")
        wh = self.node("Mul", [parts[1], f"{name}.two"], f"/{name}/wh2")
        wh = self.node("Pow", [wh, f"{name}.two"], f"/{name}/square")
        wh = self.node("Mul", [wh, f32(np.reshape(ANCHORS[i], (1, 3, 1, 1, 2)), "anchors")], f"/{name}/size")
        y = self.node("Concat", [xy, wh, parts[2]], f"/{name}/Concat", axis=4)
        return self.node("Reshape", [y, shape([1, 3 * n * n, outputs], "rows")], f"/{name}/Rows")

    def yolov5(self, classes):
        def conv(x, i, out, *kernel):
            return self.conv(x, f"model.{i}", self.scaled(out), *kernel)

        def c3(x, i, out, n, shortcut=True):
            return self.c3(x, f"model.{i}", self.scaled(out), n, shortcut)

        x = c3(conv(conv("images", 0, 64, 6, 2, 2), 1, 128, 3, 2), 2, 128, 3)
        x4 = c3(conv(x, 3, 256, 3, 2), 4, 256, 6)
        x6 = c3(conv(x4, 5, 512, 3, 2), 6, 512, 9)
        x = self.sppf(c3(conv(x6, 7, 1024, 3, 2), 8, 1024, 3), "model.9", self.scaled(1024))
        x10 = conv(x, 10, 512)
        x = c3(self.concat([self.upsample(x10, "model.11"), x6], "model.12"), 13, 512, 3, False)
        x14 = conv(x, 14, 256)
        x17 = c3(self.concat([self.upsample(x14, "model.15"), x4], "model.16"), 17, 256, 3, False)
        x20 = c3(self.concat([conv(x17, 18, 256, 3, 2), x14], "model.19"), 20, 512, 3, False)
        x23 = c3(self.concat([conv(x20, 21, 512, 3, 2), x10], "model.22"), 23, 1024, 3, False)
        return self.detect([x17, x20, x23], classes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--zeros", type=float, default=0.0, help="share of zeros in every convolution")
    parser.add_argument("--block", type=int, default=1, help="input channels that are zero together")
    parser.add_argument("--int8", action="store_true", help="quantised: QuantizeLinear and DequantizeLinear around convolutions")
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    network = Network(args)
    output = network.yolov5(args.classes)
    rows = sum(3 * (args.imgsz // stride) ** 2 for stride in STRIDES)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        network.nodes, f"yolov5{args.size}", [value("images", TensorProto.FLOAT, [1, 3, args.imgsz, args.imgsz])],
        [value(output, TensorProto.FLOAT, [1, rows, args.classes + 5])], network.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"stride": "32", "names": repr({i: f"class {i}" for i in range(args.classes)})})
    onnx.checker.check_model(model)
    onnx.save(model, args.output)


if __name__ == "__main__":
    main()
