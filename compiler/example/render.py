"""Renders the synthetic scenes on which the example model is trained, validated and shown.

Everything is drawn from formulas: each object is an implicit function on a small pixel grid
(negative inside) plus a colour per pixel; edges are anti-aliased by the distance to the zero line.
A scene is a pure function of its seed, its size and its options, so no images need to be stored.

    python render.py OUT.png [--seed 7] [--size 960x640] [--objects 14] [--boxes]
"""
import argparse
import colorsys
import math

import cv2
import numpy as np

NAMES = ["ball", "cube", "star", "ring", "cone", "leaf"]
LIGHT = np.array([-0.48, -0.60, 0.64], np.float32)  # towards the light; x right, y down, z to the viewer
MAX_COVERED = 0.35  # largest part of an object's box another one may share


def pick_colour(rng, hue=None, saturation=(0.55, 0.95), value=(0.65, 1.0)):
    """A random RGB colour (float32, 0..1); `hue` is a (low, high) range, by default all hues."""
    low, high = hue or (0.0, 1.0)
    return np.array(colorsys.hsv_to_rgb(rng.uniform(low, high) % 1, rng.uniform(*saturation), rng.uniform(*value)), np.float32)


def mix(mask, inside, outside):
    """Colour `inside` where mask is 1, `outside` where it is 0; colours are [3] or [H, W, 3]."""
    return mask[..., None] * inside + (1 - mask[..., None]) * outside


def soft(edge, width):
    """1 where edge < 0, 0 where edge > width, linear between."""
    return np.clip(1 - edge / width, 0, 1)


def lit(base, nx, ny, nz, ambient=0.42, gloss=0.0):
    """Shades colour `base` with normals given in the image frame; `gloss` adds a white highlight."""
    diffuse = np.clip(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0, 1)
    shaded = base * (ambient + (1.05 - ambient) * diffuse)[..., None]
    if gloss:
        mirror = 2 * diffuse * nz - LIGHT[2]  # z part of the reflected light, which is what the viewer sees
        shaded = shaded + (gloss * np.clip(mirror, 0, 1) ** 24)[..., None]
    return shaded


def rotation(yaw, pitch, roll):
    """3x3 matrix: turn about the vertical axis, tip towards the viewer, then turn in the image."""
    (cy, sy), (cp, sp), (cr, sr) = [(math.cos(a), math.sin(a)) for a in (yaw, pitch, roll)]
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


# --- the six objects -------------------------------------------------------------------------------
# paint_NAME(rng, x, y, pixel) -> (field, colour): x, y are image coordinates in which the object fits
# the unit circle, `pixel` is the size of a pixel in them; field < 0 inside; colour is [H, W, 3].

def paint_ball(rng, x, y, pixel):
    """A sphere: plain, with panels like a beach ball, or with a belt."""
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    p = np.einsum("ij,jhw->ihw", rotation(*rng.uniform(0, 2 * math.pi, 3)), np.stack([x, y, z]))
    base, other = pick_colour(rng), pick_colour(rng, saturation=(0.0, 0.6), value=(0.85, 1.0))
    style = rng.integers(3)
    if style == 0:
        panel = np.sin(3 * np.arctan2(p[1], p[0])) * np.hypot(p[0], p[1])
        base = mix(soft(-panel, 3 * pixel), base, other)
    elif style == 1:
        base = mix(soft(np.abs(p[2]) - rng.uniform(0.15, 0.35), 2 * pixel), other, base)
    else:
        base = np.broadcast_to(base, x.shape + (3,))
    return np.hypot(x, y) - 1, lit(base, x, y, z, 0.35, gloss=rng.uniform(0.2, 0.8))


def paint_cube(rng, x, y, pixel):
    """A cube with three faces in sight: plain, framed like a crate, or with pips like a die."""
    r = rotation(math.radians(rng.uniform(22, 68)), math.radians(rng.uniform(20, 42)), rng.normal(0, 0.35))
    half, style = 1 / math.sqrt(3), rng.integers(3)
    base, mark = pick_colour(rng), pick_colour(rng, saturation=(0, 0.3), value=(0.1, 1.0))
    field, colour = np.full_like(x, 9), np.zeros(x.shape + (3,), np.float32)
    for axis in range(3):
        normal = r[:, axis] * np.sign(r[2, axis])
        edges = half * np.stack([r[:2, (axis + 1) % 3], r[:2, (axis + 2) % 3]], 1)
        to_face = np.linalg.inv(edges)
        dx, dy = x - half * normal[0], y - half * normal[1]
        a, b = to_face[0, 0] * dx + to_face[0, 1] * dy, to_face[1, 0] * dx + to_face[1, 1] * dy
        side = np.maximum(np.abs(a), np.abs(b))
        face = np.broadcast_to(base, x.shape + (3,))
        if style == 1:
            face = mix(soft(0.74 - side, 4 * pixel), face * 0.72, face)
            face = mix(soft(np.abs(a - b) - 0.12, 4 * pixel), base * 0.72, face)
        elif style == 2:
            pips = [[(0, 0)], [(-.5, -.5), (.5, .5)], [(-.5, -.5), (.5, .5), (0, 0)],
                    [(-.5, -.5), (.5, .5), (-.5, .5), (.5, -.5)]][rng.integers(4)]
            for pa, pb in pips:
                face = mix(soft(np.hypot(a - pa, b - pb) - 0.2, 4 * pixel), mark, face)
        face = face * (0.38 + 0.70 * max(0.0, float(normal @ LIGHT)))
        face = mix(soft(0.95 - side, 3 * pixel), face * 0.8 + 0.12, face)
        nearer = side - 1 < field
        field, colour = np.where(nearer, side - 1, field), np.where(nearer[..., None], face, colour)
    return field, colour


def paint_star(rng, x, y, pixel):
    """A star with bevelled arms; mostly five of them."""
    arms, turn, inner = int(rng.choice([5, 5, 5, 6, 7])), rng.uniform(0, 2 * math.pi), rng.uniform(0.42, 0.56)
    wedge = 2 * math.pi / arms
    angle = np.arctan2(y, x) - turn
    centre = np.round(angle / wedge) * wedge
    angle, radius = angle - centre, np.hypot(x, y)
    px, py = radius * np.cos(angle), radius * np.abs(np.sin(angle))  # one half arm, its tip at (1, 0)
    vx, vy = inner * math.cos(wedge / 2), inner * math.sin(wedge / 2)
    length = math.hypot(1 - vx, vy)
    nx, ny = vy / length, (1 - vx) / length  # the edge's outward normal
    field = (px - 1) * nx + py * ny - 0.02
    facing = centre + turn + np.where(angle < 0, -1, 1) * math.atan2(ny, nx)
    steep = rng.uniform(0.45, 0.75)
    colour = lit(np.broadcast_to(pick_colour(rng), x.shape + (3,)), steep * np.cos(facing), steep * np.sin(facing),
                 math.sqrt(1 - steep * steep), 0.40, gloss=0.25)
    return field, colour


def paint_ring(rng, x, y, pixel):
    """A torus seen at an angle: plain, or with bands like a lifebuoy."""
    turn, squash, thick = rng.uniform(0, math.pi), rng.uniform(0.5, 1.0), rng.uniform(0.15, 0.27)
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * x + s * y, (c * y - s * x) / squash
    radius = np.maximum(np.hypot(u, v), 1e-3)
    across = (radius - (1 - thick)) / thick
    slope = np.clip(across, -1, 1) / radius
    base = np.broadcast_to(pick_colour(rng), x.shape + (3,))
    if rng.random() < 0.5:
        bands = np.sin(rng.integers(2, 5) * np.arctan2(v, u) + rng.uniform(0, 6))
        base = mix(soft(bands - 0.2, 5 * pixel), base, pick_colour(rng, saturation=(0, 0.3), value=(0.85, 1)))
    nu, nv = u * slope, v * slope
    nz = np.sqrt(np.clip(1 - nu * nu - nv * nv, 0, 1))
    return (np.abs(across) - 1) * thick, lit(base, c * nu - s * nv, s * nu + c * nv, nz, 0.38, gloss=0.5)


def paint_cone(rng, x, y, pixel):
    """A cone on its round base: plain, or with hoops like a road cone."""
    turn = rng.normal(0, 0.45)
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * x + s * y, c * y - s * x
    wide, base_y = rng.uniform(0.5, 0.72), 0.66
    deep, height = wide * rng.uniform(0.25, 0.4), base_y + 0.98
    tangent_y = base_y - deep * deep / height
    tangent_x = wide * math.sqrt(1 - (deep / height) ** 2)
    lean = tangent_x / (tangent_y + 0.98)  # half width per unit of height
    sides = np.maximum((np.abs(u) - lean * (v + 0.98)) / math.hypot(1, lean), v - tangent_y)
    bottom = (np.sqrt((u / wide) ** 2 + ((v - base_y) / deep) ** 2) - 1) * deep
    t = np.clip(u / np.maximum(lean * (v + 0.98), 1e-3), -1, 1)  # -1..1 from the left to the right edge
    along = (v + 0.98) / (height + deep * np.sqrt(1 - t * t))  # 0 at the tip, 1 at the rim
    base = np.broadcast_to(pick_colour(rng), x.shape + (3,))
    if rng.random() < 0.6:
        hoops = rng.integers(1, 3)
        light = pick_colour(rng, saturation=(0, 0.35), value=(0.85, 1))
        base = mix(soft(0.25 - np.abs(((along * (hoops + 0.5)) % 1) - 0.5), 4 * pixel), light, base)
    nu, nz = t * 0.95, np.sqrt(np.clip(1 - t * t * 0.9, 0, 1)) * 0.95
    return np.minimum(sides, bottom), lit(base, c * nu, s * nu - 0.25, nz, 0.36, gloss=0.15)


def paint_leaf(rng, x, y, pixel):
    """A pointed leaf with a stalk, a midrib and side veins."""
    turn, wide = rng.uniform(0, 2 * math.pi), rng.uniform(0.34, 0.5)
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * x + s * y, c * y - s * x
    v = v - rng.uniform(-0.12, 0.12) * (1 - u * u)  # a bent midrib
    along = np.clip((u + 0.62) / 1.58, 0, 1)  # 0 at the stalk, 1 at the tip
    profile = wide * np.sin(math.pi * along ** rng.uniform(0.7, 0.9)) * (1 - 0.25 * along)
    blade = np.maximum(np.abs(v) - profile, np.abs(u - 0.17) - 0.79)
    stalk = np.maximum(np.abs(v) - 0.035, np.abs(u + 0.55) - 0.41)
    base = pick_colour(rng, hue=[(0.22, 0.40), (0.22, 0.40), (0.05, 0.14), (-0.03, 0.04)][rng.integers(4)],
                       saturation=(0.6, 0.95), value=(0.5, 0.9))
    tip = np.clip(base + rng.uniform(-0.15, 0.2, 3).astype(np.float32), 0, 1)
    colour = mix(along, tip, base)
    veins = np.abs(((u - 0.9 * np.abs(v)) * rng.uniform(3.5, 5.5)) % 1 - 0.5)
    rib = np.minimum(np.abs(v) - 0.02, np.maximum(veins * 0.22 - 0.012, blade))
    colour = mix(0.7 * soft(rib, 2.5 * pixel), colour * 0.55 + 0.32, colour)
    bulge = np.where(v < 0, -0.3, 0.3)
    return np.minimum(blade, stalk), lit(colour, -s * bulge, c * bulge, np.full_like(u, 0.95), 0.45, gloss=0.1)


PAINTERS = [paint_ball, paint_cube, paint_star, paint_ring, paint_cone, paint_leaf]


def paint(rng, kind, size):
    """One object about `size` pixels across: (alpha [H, W], colour [H, W, 3]), both 0..1."""
    reach = int(size / 2 + 3)
    pixel = 2 / size
    shift = rng.uniform(-0.5, 0.5, 2)
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid((axis + shift[0]) * pixel, (axis + shift[1]) * pixel)
    field, colour = PAINTERS[kind](rng, x, y, pixel)
    gy, gx = np.gradient(field.astype(np.float32))
    distance = field / np.maximum(np.hypot(gx, gy), 0.3 * pixel)  # to the edge, in pixels
    if rng.random() < 0.3:
        ink = soft(-distance - max(1.0, size * 0.015), 1.0)
        colour = mix(ink * 0.75, colour * 0.2, colour)
    return np.clip(0.5 - distance, 0, 1).astype(np.float32), np.clip(colour, 0, 1).astype(np.float32)


# --- scenes ----------------------------------------------------------------------------------------

def smooth_noise(rng, width, height, cells):
    """Noise in about -1..1 whose blobs are 1/cells of the width."""
    grid = rng.normal(0, 0.5, (max(2, cells * height // width) + 1, cells + 1)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def paint_background(rng, width, height):
    """A gradient with cloudy noise and, mostly, a pattern: blurred discs, stripes or a floor."""
    tone = (0.35, 0.65) if rng.random() < 0.4 else (0.7, 0.98)
    first, second = [pick_colour(rng, saturation=(0.08, 0.5), value=tone) for _ in range(2)]
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    angle, unit = rng.uniform(0, 2 * math.pi), min(width, height)
    canvas = mix(np.clip(0.5 + 0.5 * (x * math.cos(angle) + y * math.sin(angle)), 0, 1), first, second)
    canvas += (rng.uniform(0.02, 0.09) * smooth_noise(rng, width, height, int(rng.integers(3, 9))))[..., None]
    canvas += (rng.uniform(0.0, 0.05) * smooth_noise(rng, width, height, int(rng.integers(20, 50))))[..., None]
    pattern = rng.integers(4)
    if pattern == 0:
        discs = np.zeros((height, width), np.float32)
        for _ in range(rng.integers(5, 16)):
            spot = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(discs, spot, int(unit * rng.uniform(0.03, 0.16)), float(rng.uniform(0.2, 1)), -1)
        canvas = mix(0.35 * cv2.GaussianBlur(discs, (0, 0), unit * rng.uniform(0.008, 0.03)), np.float32(1), canvas)
    elif pattern == 1:
        turn, pitch = rng.uniform(0, math.pi), rng.uniform(6, 25)
        wave = np.sin(pitch * (x * math.cos(turn) * width + y * math.sin(turn) * height) / unit)
        canvas += (rng.uniform(0.02, 0.06) * np.clip(3 * wave, -1, 1))[..., None]
    elif pattern == 2:
        floor = soft(rng.uniform(-0.3, 0.5) - y, 0.02)
        canvas = mix(floor, canvas * rng.uniform(0.6, 0.85) + 0.05 * (1 + y[..., None]), canvas)
    canvas *= (1 - 0.12 * (x * x + y * y))[..., None]
    return np.clip(canvas, 0, 1)


def place(canvas, layer, left, top, value):
    """Blends `value` ([3] or [h, w, 3]) over the canvas where `layer` [h, w] says so, clipped to the canvas."""
    h, w = layer.shape
    y0, y1, x0, x1 = max(top, 0), min(top + h, canvas.shape[0]), max(left, 0), min(left + w, canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    canvas[y0:y1, x0:x1] = mix(layer[part], value[part] if value.ndim == 3 else value, canvas[y0:y1, x0:x1])


def render_scene(seed, width, height, objects=None, sizes=(0.075, 0.5), inside=False):
    """Renders one scene.

    seed: anything numpy's default_rng takes. objects: how many to try to place (default: random, 2..12),
    the kinds in turn from a random order. sizes: smallest and largest object, as parts of the longer side.
    inside: keep whole objects in the picture. Returns (image, boxes, kinds): RGB uint8 [height, width, 3];
    float32 [n, 4] tight xyxy boxes of the full outlines, cut at the border; int64 [n] indices into NAMES.
    """
    rng = np.random.default_rng(seed)
    canvas = paint_background(rng, width, height)
    objects = int(rng.integers(2, 13)) if objects is None else objects
    order, boxes, kinds = rng.permutation(len(NAMES)), [], []
    for index in range(objects):
        kind = int(order[index % len(NAMES)])
        for _ in range(12):
            size = max(width, height) * math.exp(rng.uniform(math.log(sizes[0]), math.log(sizes[1])))
            size = min(size, 0.9 * min(width, height))
            rim = size * (0.52 if inside else rng.uniform(0.15, 0.5))
            cx, cy = rng.uniform(rim, width - rim), rng.uniform(rim, height - rim)
            rough = np.array([cx - size / 2, cy - size / 2, cx + size / 2, cy + size / 2])
            if not boxes or shared(rough, np.array(boxes)).max() < MAX_COVERED:
                break
        else:
            continue
        alpha, colour = paint(rng, kind, size)
        left, top = int(cx) - alpha.shape[1] // 2, int(cy) - alpha.shape[0] // 2
        ys, xs = np.nonzero(alpha > 0.5)
        box = np.array([left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1], np.float32)
        box = np.clip(box, 0, [width, height, width, height])
        if min(box[2] - box[0], box[3] - box[1]) < 4:
            continue
        blur, drop = size * rng.uniform(0.03, 0.08), size * rng.uniform(0.03, 0.1)
        pad = int(3 * blur)
        shadow = cv2.GaussianBlur(np.pad(alpha, pad), (0, 0), blur) * rng.uniform(0.2, 0.5)
        place(canvas, shadow, left - pad + int(drop * 0.8), top - pad + int(drop), np.zeros(3, np.float32))
        place(canvas, alpha, left, top, colour)
        boxes.append(box)
        kinds.append(kind)
    canvas = canvas * 255 + rng.normal(0, rng.uniform(0.5, 5), canvas.shape).astype(np.float32)
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return image, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64)


def shared(box, others):
    """The largest part, of either box, that `box` [4] shares with each of `others` [n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), 1)
    area = np.minimum(np.prod(others[:, 2:] - others[:, :2], 1), np.prod(box[2:] - box[:2]))
    return common / np.maximum(area, 1)


def draw_boxes(image, boxes, labels):
    """A copy of the RGB image with labelled boxes."""
    image = image.copy()
    for (x0, y0, x1, y1), label in zip(boxes, labels):
        cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), (255, 60, 0), 2)
        cv2.putText(image, label, (int(x0) + 3, int(y0) + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 2)
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", default="960x640")
    parser.add_argument("--objects", type=int)
    parser.add_argument("--boxes", action="store_true", help="draw the ground truth")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    image, boxes, kinds = render_scene(args.seed, width, height, args.objects, inside=True)
    if args.boxes:
        image = draw_boxes(image, boxes, [NAMES[k] for k in kinds])
    cv2.imwrite(args.output, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
