"""The six kinds of objects of the example scenes, drawn from formulas.

Each object is an implicit function on a small pixel grid (negative inside) plus a colour per pixel;
edges are anti-aliased by the distance to the zero line.
"""
import colorsys
import math

import numpy as np

NAMES = ["ball", "cube", "star", "ring", "cone", "leaf"]
LIGHT = np.array([-0.48, -0.60, 0.64], np.float32)  # towards the light; x right, y down, z to the viewer


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
