"""Writes the trained detector as ONNX (opset 13, batch 1) with QuantizeLinear/DequantizeLinear at each convolution.

    python export.py CHECKPOINT.pt OUT.onnx         writes, checks against PyTorch, prints the sparsity per layer
"""
import argparse

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from evaluate import letterbox, onnx_predictor, val_scenes
from model import ANCHORS, SIZE, STRIDES, Detector, decode, grid_offsets
from objects import NAMES


class Graph:
    """Collects nodes and initialisers; every method adds a part and returns the name of its output."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind, inputs, name, outputs=None, **attributes):
        outputs = outputs or [f"{name}_output"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def quantised(self, name, source, scale, zero_point):
        """Rounds a float tensor to u8 and back."""
        parameters = [self.constant(f"{name}.scale", np.float32(scale)), self.constant(f"{name}.zero_point", np.uint8(zero_point))]
        levels = self.node("QuantizeLinear", [source, *parameters], f"{name}_QuantizeLinear", [f"{name}.q"])
        return self.node("DequantizeLinear", [levels, *parameters], f"{name}_DequantizeLinear", [f"{name}.dq"])

    def weight(self, name, module):
        """The s8 weight and its DequantizeLinear."""
        levels, scale = integer_weight(module)
        inputs = [self.constant(f"{name}.q", levels), self.constant(f"{name}.scale", np.float32(scale)),
                  self.constant(f"{name}.zero_point", np.int8(0))]
        return self.node("DequantizeLinear", inputs, f"{name}_DequantizeLinear", [f"{name}.dq"])

    def conv(self, name, module, source):
        kernel, stride, padding = module.conv.kernel_size, module.conv.stride, module.conv.padding
        inputs = [self.quantised(f"{name}.input", source, *module.input_scale()), self.weight(f"{name}.weight", module),
                  self.constant(f"{name}.bias", module.conv.bias.detach().numpy())]
        out = self.node("Conv", inputs, f"/{name}/Conv", dilations=[1, 1], group=1, kernel_shape=list(kernel),
                        pads=list(padding * 2), strides=list(stride))
        if module.act:
            gate = self.node("Sigmoid", [out], f"/{name}/act/Sigmoid")
            out = self.node("Mul", [out, gate], f"/{name}/act/Mul")
        return out

    def concat(self, name, sources, axis=1):
        return self.node("Concat", sources, f"/{name}/Concat", axis=axis)

    def c3(self, name, module, source):
        first = self.conv(f"{name}.cv1", module.cv1, source)
        inner = self.conv(f"{name}.m.cv2", module.m.cv2, self.conv(f"{name}.m.cv1", module.m.cv1, first))
        if module.m.shortcut:
            inner = self.node("Add", [first, inner], f"/{name}/m/Add")
        second = self.conv(f"{name}.cv2", module.cv2, source)
        return self.conv(f"{name}.cv3", module.cv3, self.concat(name, [inner, second]))

    def sppf(self, name, module, source):
        pooled = [self.conv(f"{name}.cv1", module.cv1, source)]
        for index in range(3):
            pooled.append(self.node("MaxPool", pooled[-1:], f"/{name}/MaxPool_{index}", ceil_mode=0,
                                    kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]))
        return self.conv(f"{name}.cv2", module.cv2, self.concat(name, pooled))

    def upsample(self, name, source):
        scales = self.constant(f"{name}.scales", np.float32([1, 1, 2, 2]))
        return self.node("Resize", [source, "", scales], f"/{name}/Resize", mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def head(self, name, module, source, classes, stride, anchors):
        """One detect head with its decode: [1, 3 * cells * cells, 5 + classes]."""
        cells = SIZE // stride

        def fixed(part, value):
            return self.constant(f"{name}.{part}", value)

        raw = self.conv(name, module, source)
        split = self.node("Reshape", [raw, fixed("split_shape", np.int64([1, 3, 5 + classes, cells, cells]))], f"/{name}/Reshape")
        turned = self.node("Transpose", [split], f"/{name}/Transpose", perm=[0, 1, 3, 4, 2])
        y = self.node("Sigmoid", [turned], f"/{name}/Sigmoid")
        parts = [f"/{name}/Split_output_{index}" for index in range(3)]
        self.node("Split", [y, fixed("parts", np.int64([2, 2, 1 + classes]))], f"/{name}/Split", parts, axis=4)
        grid = np.broadcast_to(grid_offsets(cells).numpy() - 0.5, (1, 3, cells, cells, 2))
        sizes = np.broadcast_to(np.float32(anchors).reshape(1, 3, 1, 1, 2), (1, 3, cells, cells, 2))
        xy = self.node("Mul", [parts[0], fixed("two", np.float32(2))], f"/{name}/xy/Mul")
        xy = self.node("Add", [xy, fixed("grid", np.ascontiguousarray(grid))], f"/{name}/xy/Add")
        xy = self.node("Mul", [xy, fixed("stride", np.float32(stride))], f"/{name}/xy/Mul_1")
        wh = self.node("Mul", [parts[1], fixed("two_wh", np.float32(2))], f"/{name}/wh/Mul")
        wh = self.node("Pow", [wh, fixed("square", np.float32(2))], f"/{name}/wh/Pow")
        wh = self.node("Mul", [wh, fixed("anchors", np.ascontiguousarray(sizes))], f"/{name}/wh/Mul_1")
        joined = self.concat(name, [xy, wh, parts[2]], axis=4)
        return self.node("Reshape", [joined, fixed("rows", np.int64([1, 3 * cells * cells, 5 + classes]))], f"/{name}/Reshape_1")


def integer_weight(module):
    """(int8 weight, scale) of a folded convolution."""
    scale = np.float32(module.weight_scale())
    weight = (module.conv.weight * module.mask).detach().numpy()
    return np.clip(np.round(weight / scale), -127, 127).astype(np.int8), scale


def build(model):
    """The ONNX model of a folded, calibrated Detector."""
    g = Graph()

    def conv(name, source):
        return g.conv(name, getattr(model, name), source)

    def c3(name, source):
        return g.c3(name, getattr(model, name), source)

    p8 = c3("stage8", conv("down8", c3("stage4", conv("down4", conv("stem", "images")))))
    p16 = c3("stage16", conv("down16", p8))
    p32 = g.sppf("sppf", model.sppf, c3("stage32", conv("down32", p16)))
    l32 = conv("lateral32", p32)
    l16 = conv("lateral16", c3("up16", g.concat("join16", [g.upsample("upsample16", l32), p16])))
    n8 = c3("up8", g.concat("join8", [g.upsample("upsample8", l16), p8]))
    n16 = c3("out16", g.concat("join_pan16", [conv("pan16", n8), l16]))
    n32 = c3("out32", g.concat("join_pan32", [conv("pan32", n16), l32]))
    heads = [g.head(f"heads.{i}", model.heads[i], source, model.classes, STRIDES[i], ANCHORS[i])
             for i, source in enumerate((n8, n16, n32))]
    g.node("Concat", heads, "/heads/Concat", ["output0"], axis=1)
    rows = sum(3 * (SIZE // stride) ** 2 for stride in STRIDES)
    graph = helper.make_graph(
        g.nodes, "shapes", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, rows, 5 + model.classes])], g.initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="peristyle-example")
    helper.set_model_props(proto, {"stride": str(max(STRIDES)), "names": str(dict(enumerate(NAMES)))})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def check(model, path, images=20):
    """Compares the file in ONNX Runtime with PyTorch, verifies the zeros and prints the sparsity per layer."""
    predict, differences = onnx_predictor(path), []
    for image, _, _ in val_scenes(images):
        x = letterbox(image)[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
        with torch.no_grad():
            expected = decode(model(torch.from_numpy(x)), model.classes).numpy()[0]
        likely = expected[:, 4] > 0.1
        differences.append(np.abs(predict(x)[0] - expected)[likely])
    rows = np.concatenate(differences)
    if len(rows):
        print(f"ONNX Runtime against PyTorch, {len(rows)} rows with objectness above 0.1, mean and largest difference: "
              f"box {rows[:, :4].mean():.4f} {rows[:, :4].max():.3f} px, scores {rows[:, 4:].mean():.5f} {rows[:, 4:].max():.4f}")
    stored = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    zeros = total = 0
    for name, module in model.convs():
        levels = stored[f"{name}.weight.q"]
        assert not levels[module.mask.numpy() == 0].any(), f"{name}: a pruned weight is not zero"
        print(f"{name:14} {str(levels.shape):18} pruned {1 - module.mask.mean():.3f}  zero {np.mean(levels == 0):.3f}")
        zeros, total = zeros + (levels == 0).sum(), total + levels.size
    print(f"{zeros} of {total} weights are zero: {zeros / total:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Detector(len(NAMES))
    model.fold_all()
    model.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    model.eval()
    onnx.save(build(model), args.output)
    check(model, args.output)


if __name__ == "__main__":
    main()
