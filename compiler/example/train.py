"""Trains the example model: dense, then gradually pruned, then quantisation-aware; measures each and exports.

    nice -n 10 python train.py --work DIR --output shapes.onnx [--scale 1.0]

DIR receives the rendered training scenes and the checkpoints. --scale shortens every phase (0.03 is a smoke run).
"""
import argparse
import copy
import math
import os
import time

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F

from evaluate import letterbox, mean_ap, onnx_predictor
from export import build, check
from model import ANCHORS, SIZE, STRIDES, Detector, decode, grid_offsets, split_head
from objects import NAMES
from render import render_scene

BATCH = 32
SHAPES = [(320, 320), (320, 240), (320, 213), (320, 180), (240, 320), (213, 320)]  # width, height in turn
DENSE = dict(epochs=10, rate=3e-3)
PRUNE = dict(epochs=6, rate=2e-3)
QUANT = dict(epochs=2, rate=3e-4)


# --- data ------------------------------------------------------------------------------------------

def training_scenes(folder, count):
    """`count` letterboxed scenes, rendered once and kept in `folder`: (uint8 [n, S, S, 3], [(boxes, kinds)])."""
    path = os.path.join(folder, f"scenes-{count}.npy")
    known = os.path.exists(path)
    images = np.lib.format.open_memmap(path + ".new" if not known else path, "r" if known else "w+", np.uint8, (count, SIZE, SIZE, 3))
    if known:
        stored = np.load(path + ".boxes.npz")
        parts = np.cumsum(stored["counts"])[:-1]
        return images, list(zip(np.split(stored["boxes"], parts), np.split(stored["kinds"], parts)))
    labels = []
    for index in range(count):
        width, height = SHAPES[index % len(SHAPES)]
        zoom = 1 + index // len(SHAPES) % 2  # every other scene is rendered large and scaled down, as photographs are
        image, boxes, kinds = render_scene([0, index], width * zoom, height * zoom)
        images[index], gain, left, top = letterbox(image)
        labels.append((boxes * gain + [left, top, left, top], kinds))
    np.savez(path + ".boxes.npz", boxes=np.concatenate([b for b, _ in labels]), kinds=np.concatenate([k for _, k in labels]),
             counts=[len(k) for _, k in labels])
    os.rename(path + ".new", path)
    return images, labels


def augment(rng, image, boxes, kinds):
    """Random mirror, zoom and shift, channel order, contrast and brightness."""
    if rng.random() < 0.5:
        image, boxes = image[:, ::-1], np.stack([SIZE - boxes[:, 2], boxes[:, 1], SIZE - boxes[:, 0], boxes[:, 3]], 1)
    if rng.random() < 0.6:
        zoom, shift = rng.uniform(0.7, 1.3), rng.uniform(-0.12, 0.12, 2) * SIZE
        shift = shift + SIZE / 2 * (1 - zoom)
        image = cv2.warpAffine(np.ascontiguousarray(image), np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]]), (SIZE, SIZE),
                               flags=cv2.INTER_LINEAR, borderValue=(114, 114, 114))
        whole = boxes * zoom + np.tile(shift, 2)
        boxes = np.clip(whole, 0, SIZE)
        area, left = np.prod(whole[:, 2:] - whole[:, :2], 1), np.prod(boxes[:, 2:] - boxes[:, :2], 1)
        keep = (left > 0.3 * area) & ((boxes[:, 2:] - boxes[:, :2]).min(1) > 5)
        boxes, kinds = boxes[keep], kinds[keep]
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    image = image.astype(np.float32) * np.float32(rng.uniform(0.75, 1.2)) + np.float32(rng.uniform(-20, 20))
    return np.clip(np.round(image), 0, 255) / 255, boxes, kinds


def batches(rng, scenes):
    """One epoch: (images [B, 3, S, S], targets [G, 6] = image, kind, centre x, y, width, height in pixels)."""
    images, labels = scenes
    order = rng.permutation(len(labels))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen, targets = np.empty((BATCH, SIZE, SIZE, 3), np.float32), []
        for slot, index in enumerate(order[start:start + BATCH]):
            chosen[slot], boxes, kinds = augment(rng, images[index], *labels[index])
            for (x0, y0, x1, y1), kind in zip(boxes, kinds):
                targets.append([slot, kind, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
        yield torch.from_numpy(chosen).permute(0, 3, 1, 2), torch.tensor(np.array(targets).reshape(-1, 6), dtype=torch.float32)


# --- loss ------------------------------------------------------------------------------------------

def assign(targets, stride, anchors):
    """Which cells of one head answer for which target: index tensors (target, anchor, row, column).

    An anchor takes part if no side differs from the target's by more than 3.5 times; for it answer the cell
    of the target's centre and the nearest cell beside it in either direction, all within reach of the decode.
    """
    cells = SIZE // stride
    ratio = targets[:, None, 4:6] / anchors[None]
    target, anchor = torch.nonzero(torch.maximum(ratio, 1 / ratio).amax(2) < 3.5, as_tuple=True)
    centre = targets[target, 2:4] / stride
    cell = centre.floor()
    beside = torch.where(centre - cell < 0.5, -1.0, 1.0)
    steps = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    cell = (cell[:, None] + beside[:, None] * steps).long()
    inside = ((cell >= 0) & (cell < cells)).all(2)
    pair, step = torch.nonzero(inside, as_tuple=True)
    column, row = cell[pair, step].unbind(1)
    return target[pair], anchor[pair], row, column


def complete_iou(a, b):
    """(IoU, IoU less the penalties for distance and aspect) of boxes [n, 4] given by centre and size."""
    low_a, high_a, low_b, high_b = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    common = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(1)
    iou = common / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - common + 1e-6)
    hull = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    distance = (a[:, :2] - b[:, :2]).square().sum(1) / (hull.square().sum(1) + 1e-6)
    aspect = (4 / math.pi ** 2) * (torch.atan(a[:, 2] / a[:, 3]) - torch.atan(b[:, 2] / b[:, 3])).square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + 1e-6)
    return iou, iou - distance - weight * aspect


def detection_loss(heads, targets):
    """Box, objectness and class loss, each per answering cell; objectness aims at the box's IoU."""
    box_loss = object_loss = class_loss = 0.0
    answering = 0
    for raw, stride, anchors in zip(heads, STRIDES, torch.tensor(ANCHORS).float()):
        y = split_head(raw, len(NAMES))
        wanted = torch.zeros(y.shape[:4])
        target, anchor, row, column = assign(targets, stride, anchors)
        if len(target):
            image, kind = targets[target, 0].long(), targets[target, 1].long()
            rows = y[image, anchor, row, column]
            xy = (rows[:, :2].sigmoid() * 2 - 0.5 + torch.stack([column, row], 1)) * stride
            wh = (rows[:, 2:4].sigmoid() * 2) ** 2 * anchors[anchor]
            iou, score = complete_iou(torch.cat([xy, wh], 1), targets[target, 2:])
            box_loss = box_loss + (1 - score).sum()
            class_loss = class_loss + F.binary_cross_entropy_with_logits(rows[:, 5:], F.one_hot(kind, len(NAMES)).float(), reduction="sum")
            wanted.index_put_((image, anchor, row, column), iou.detach().clamp(0.05, 1))
            answering += len(target)
        object_loss = object_loss + F.binary_cross_entropy_with_logits(y[..., 4], wanted, reduction="sum")
    return (4 * box_loss + object_loss + class_loss) / max(answering, 1)


# --- training --------------------------------------------------------------------------------------

def sparsity_target(name, module):
    """The part of a layer's weights to prune: large 3x3 layers most, 1x1 layers about half, heads least."""
    size, kernel = module.conv.weight.numel(), module.conv.kernel_size[0]
    if name.startswith("heads"):
        return 0.30
    if kernel == 1:
        return 0.55 if size >= 6000 else 0.45
    return 0.85 if size >= 30000 else 0.78 if size >= 9000 else 0.65 if kernel == 3 else 0.50


@torch.no_grad()
def prune(model, progress):
    """Masks the smallest weights of every layer; the cubic schedule reaches the target at progress 1."""
    for name, module in model.convs():
        size = (module.conv.weight * module.mask).abs().flatten()
        count = int(sparsity_target(name, module) * (1 - (1 - min(progress, 1)) ** 3) * size.numel())
        mask = torch.ones_like(size)
        mask[size.argsort()[:count]] = 0
        module.mask.copy_(mask.view_as(module.mask))


def fit(model, scenes, rng, epochs, rate, before_step=lambda model, progress: None):
    """AdamW with warm-up and cosine decay over `epochs` (may be a fraction); returns the averaged model."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([dict(params=decay, weight_decay=0.02), dict(params=plain, weight_decay=0)], lr=rate)
    average, started = copy.deepcopy(model).eval(), time.time()
    total, step, running = max(8, int(epochs * (len(scenes[1]) // BATCH))), 0, 0.0
    warm = min(200, total // 5)
    while step < total:
        for images, targets in batches(rng, scenes):
            progress = step / total
            for group in optimiser.param_groups:
                group["lr"] = rate * min((step + 1) / warm, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
            before_step(model, progress)
            loss = detection_loss(model(images), targets)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            with torch.no_grad():
                keep = min(0.998, (1 + step) / (10 + step))
                for kept, new in zip(average.state_dict().values(), model.state_dict().values()):
                    kept.lerp_(new, 1 - keep) if kept.dtype.is_floating_point else kept.copy_(new)
            running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
            step += 1
            if step % 50 == 0 or step == total:
                print(f"  step {step}/{total} loss {running:.3f} {time.time() - started:.0f} s", flush=True)
            if step == total:
                break
    for (_, kept), (_, new) in zip(average.convs(), model.convs()):
        kept.mask.copy_(new.mask)
        kept.input_range.copy_(new.input_range)
    return average


@torch.no_grad()
def calibrate(model, scenes, rng, rounds):
    """Observes the input range of every convolution in float arithmetic; the image itself is exactly 0..1."""
    model.eval()
    for _, module in model.convs():
        module.quantised, module.observing = False, module is not model.stem
    for _, (images, _) in zip(range(rounds), batches(rng, scenes)):
        model(images)
    for _, module in model.convs():
        module.quantised, module.observing = True, False
    model.stem.input_range.copy_(torch.tensor([0.0, 1.0]))


def report(title, predict, count):
    average, half, classes = mean_ap(predict, count)
    print(f"{title}: mAP50-95 {average:.4f} mAP50 {half:.4f} " + " ".join(f"{n} {v:.3f}" for n, v in classes.items()), flush=True)


def torch_predictor(model):
    model.eval()

    def predict(images):
        with torch.no_grad():
            return decode(model(torch.from_numpy(images)), len(NAMES)).numpy()

    return predict


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for scenes and checkpoints")
    parser.add_argument("--output", default="shapes.onnx")
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--images", type=int, default=200, help="validation images")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the epochs of every phase")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1), cv2.setNumThreads(1), torch.manual_seed(args.seed)
    rng, started = np.random.default_rng(args.seed), time.time()
    os.makedirs(args.work, exist_ok=True)

    def clock(what):
        print(f"[{time.time() - started:.0f} s] {what}", flush=True)

    def save(model, name):
        torch.save(model.state_dict(), os.path.join(args.work, name))

    def phase(settings):
        return dict(epochs=settings["epochs"] * args.scale, rate=settings["rate"])

    scenes = training_scenes(args.work, args.scenes)
    clock("scenes rendered; training dense")
    model = fit(Detector(len(NAMES)).train(), scenes, rng, **phase(DENSE))
    save(model, "dense.pt")
    report("dense float", torch_predictor(model), args.images)

    clock("pruning")
    step, reached = 0, False

    def prune_gradually(model, progress):
        nonlocal step, reached
        if not reached and (step % 10 == 0 or progress > 0.65):
            prune(model, progress / 0.6)
            reached = progress >= 0.6
        step += 1

    model = fit(model.train(), scenes, rng, **phase(PRUNE), before_step=prune_gradually)
    save(model, "pruned.pt")
    report("pruned float", torch_predictor(model), args.images)

    clock("quantising")
    model.eval()
    model.fold_all()
    calibrate(model, scenes, rng, 12)
    report("pruned, quantised without training", torch_predictor(model), args.images)
    model = fit(model, scenes, rng, **phase(QUANT))
    save(model, "quantised.pt")
    report("pruned, quantised, PyTorch", torch_predictor(model), args.images)
    onnx.save(build(model), args.output)
    check(model, args.output)
    report("pruned, quantised, ONNX Runtime", onnx_predictor(args.output), args.images)
    clock(f"done: {args.output}, {os.path.getsize(args.output)} bytes")


if __name__ == "__main__":
    main()
