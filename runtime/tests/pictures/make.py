#!/usr/bin/env python3
"""Makes the image files of this directory, and as PNG the pictures that they stand for.

Needs: pip install numpy pillow; ImageMagick's `convert` for the YCCK file.
"""
import os
import subprocess
import numpy as np
from PIL import Image

W, H = 26, 18
here = os.path.dirname(os.path.abspath(__file__))
y, x = np.mgrid[0:H, 0:W]


def path(name):
    return os.path.join(here, name)


# What lossless files hold: few enough colours for a palette.
blocks = np.stack([x // 4 * 36, y // 4 * 50, (x // 8 + y // 6) * 40 % 256], 2).astype("uint8")
# What lossy files hold: smooth, and different on every side.
smooth = np.stack([x * 9, y * 13, 255 - x * 4 - y * 5], 2).clip(0, 255).astype("uint8")
alpha = (x * 255 // (W - 1)).astype("uint8")
over_white = (blocks * (alpha[..., None] / 255.0) + 255 * (1 - alpha[..., None] / 255.0)).round().astype("uint8")

lossless, lossy = Image.fromarray(blocks), Image.fromarray(smooth)
lossless.save(path("blocks.png"))
lossy.save(path("smooth.png"))
Image.fromarray(over_white).save(path("over_white.png"))
lossless.convert("L").convert("RGB").save(path("grey_reference.png"))

colours, index = np.unique(blocks.reshape(-1, 3), axis=0, return_inverse=True)
palette = Image.fromarray(index.reshape(H, W).astype("uint8"), "P")
palette.putpalette(colours.tobytes())
palette.save(path("palette.png"))
palette.save(path("palette.bmp"))
palette.save(path("palette.gif"))
palette.save(path("two_frames.gif"), save_all=True, append_images=[palette.rotate(180)], duration=50)
lossless.save(path("rgb.bmp"))
lossless.save(path("lzw.tif"), compression="tiff_lzw")
lossless.save(path("deflate.tif"), compression="tiff_adobe_deflate")
lossless.save(path("lossless.webp"), lossless=True)
lossless.convert("L").save(path("grey.png"))
rgba = Image.fromarray(np.dstack([blocks, alpha]), "RGBA")
rgba.save(path("alpha.png"))
rgba.save(path("alpha.webp"), lossless=True, exact=True)
rgba.save(path("alpha.tif"))
# The colours of the two ends, nothing and all of them, as palettes have them.
hard = np.where(alpha[..., None] < 128, 255, blocks).astype("uint8")
Image.fromarray(hard).save(path("transparent_reference.png"))
transparent = index.reshape(H, W).astype("uint8").copy()
transparent[alpha < 128] = len(colours)
transparent = Image.fromarray(transparent, "P")
transparent.putpalette(np.vstack([colours, [[1, 2, 3]]]).astype("uint8").tobytes())
transparent.save(path("transparent.png"), transparency=len(colours))
transparent.save(path("transparent.gif"), transparency=len(colours))


def sixteen_bit_png(name):
    """Pillow writes no RGB of 16 bits."""
    import struct
    import zlib

    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in blocks)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", W, H, 16, 2, 0, 0, 0)
    with open(path(name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


sixteen_bit_png("rgb16.png")

jpeg = {"quality": 95, "subsampling": 0}
lossy.save(path("lossy.webp"), quality=95)
lossy.save(path("progressive.jpg"), progressive=True, **jpeg)
lossy.save(path("multi_picture.mpo"), format="MPO", save_all=True, append_images=[lossy.rotate(180)], **jpeg)
cmyk = Image.fromarray(np.dstack([255 - smooth, np.full((H, W), 40, "uint8")]), "CMYK")
cmyk.save(path("cmyk.jpg"), **jpeg)
Image.open(path("cmyk.jpg")).convert("RGB").save(path("cmyk_reference.png"))
subprocess.run(["convert", path("smooth.png"), "-colorspace", "CMYK", "-quality", "95", "-sampling-factor", "1x1",
                "-strip", path("ycck.jpg")], check=True)
Image.open(path("ycck.jpg")).convert("RGB").save(path("ycck_reference.png"))

TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_270}
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = lossy.transpose(TURNS[orientation]) if orientation > 1 else lossy
    stored.save(path(f"orientation_{orientation}.jpg"), exif=exif, **jpeg)
exif = Image.Exif()
exif[0x0112] = 6
lossless.transpose(TURNS[6]).save(path("orientation_6.png"), exif=exif)
lossless.transpose(TURNS[6]).save(path("orientation_6.webp"), exif=exif, lossless=True)
