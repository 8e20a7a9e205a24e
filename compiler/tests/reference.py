#!/usr/bin/env python3
"""Runs a model in ONNX Runtime with graph optimisations disabled: the other side of differential.rs.

    reference.py MODEL.onnx IN.npz OUT.npz            inputs and outputs by name
    reference.py MODEL.onnx --random SEED IN.npz OUT.npz [--imgsz H W]
                                                      makes the inputs first: uniform f32 in [0, 1), or bytes
    reference.py MODEL.onnx --image FILE IN.npz OUT.npz [--imgsz H W]
                                                      makes the input from a photograph, stretched to the size
    --all                                             writes every node's results, named like the nodes

Optimisations are off because ONNX Runtime's fused u8s8 kernels saturate on processors without VNNI, and because
they reorder float sums. A batch of several images is run image by image. Needs onnxruntime and numpy; opencv for
--image; onnx for --all.
"""
import argparse

import numpy as np
import onnxruntime as ort


def extents(declared, imgsz):
    """The declared shape with a batch of 1 and open sizes filled in."""
    size = [1, 3, *imgsz]
    return [d if isinstance(d, int) and i > 0 else size[i] for i, d in enumerate(declared)]


def with_all_outputs(path):
    """The model's bytes with every result of every node among the outputs, and the names of those results here: the
    node's name (that of its first result when it has none), with `.1`, `.2`, ... for further results."""
    import onnx

    model = onnx.load(path)
    known = {o.name for o in model.graph.output}
    labels = {}
    for node in model.graph.node:
        if node.op_type != "Constant":
            for index, name in enumerate(node.output):
                if name:
                    labels[name] = (node.name or node.output[0]) + (f".{index}" if index else "")
                    if name not in known:
                        model.graph.output.append(onnx.ValueInfoProto(name=name))
    return model.SerializeToString(), labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("outputs")
    parser.add_argument("--random", type=int, metavar="SEED")
    parser.add_argument("--image", metavar="FILE")
    parser.add_argument("--imgsz", type=int, nargs=2, default=[640, 640], metavar=("H", "W"))
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model, labels = with_all_outputs(args.model) if args.all else (args.model, {})
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    if args.random is not None:
        random = np.random.default_rng(args.random)
        inputs = {}
        for i in session.get_inputs():
            shape = extents(i.shape, args.imgsz)
            if "uint8" in i.type:
                inputs[i.name] = random.integers(0, 256, shape, dtype=np.uint8)
            else:
                inputs[i.name] = random.random(shape, dtype=np.float32)
        np.savez_compressed(args.inputs, **inputs)
    if args.image is not None:
        import cv2

        (i,) = session.get_inputs()
        height, width = extents(i.shape, args.imgsz)[2:]
        pixels = cv2.resize(cv2.imread(args.image), (width, height))[:, :, ::-1].transpose(2, 0, 1)[None]
        if "uint8" not in i.type:
            pixels = pixels.astype(np.float32) / np.float32(255)
        np.savez_compressed(args.inputs, **{i.name: np.ascontiguousarray(pixels)})

    inputs = dict(np.load(args.inputs))
    names = [o.name for o in session.get_outputs()]
    images = len(next(iter(inputs.values())))
    runs = [session.run(names, {k: v[n : n + 1] for k, v in inputs.items()}) for n in range(images)]
    # Results without an image axis, such as shapes, are equal for every image.
    joined = {name: np.concatenate(v) if len(v) > 1 and v[0].ndim else v[0] for name, v in zip(names, zip(*runs))}
    save = np.savez if args.all else np.savez_compressed
    save(args.outputs, **{labels.get(name, name): value for name, value in joined.items()})


if __name__ == "__main__":
    main()
