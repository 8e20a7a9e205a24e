#!/usr/bin/env python3
"""Makes the JPEG files of this directory and prints what libjpeg-turbo (through OpenCV) decodes them to.

Needs: pip install numpy opencv-python-headless
"""
import os
import cv2
import numpy as np

SAMPLING = {s: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{s}") for s in ("411", "420", "422", "440", "444")}
FILES = [  # name, width, height, sampling, quality, progressive, restart interval, grey
    ("s420", 53, 37, "420", 85, 0, 0, 0),
    ("s420_progressive", 53, 37, "420", 75, 1, 0, 0),
    ("s422_restart", 41, 19, "422", 60, 0, 2, 0),
    ("s440", 23, 35, "440", 90, 0, 0, 0),
    ("s411", 45, 18, "411", 80, 0, 0, 0),
    ("s444_progressive_restart", 33, 17, "444", 95, 1, 3, 0),
    ("s420_narrow", 3, 30, "420", 90, 0, 0, 0),
    ("grey", 31, 22, "444", 70, 0, 0, 1),
]


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


here = os.path.dirname(os.path.abspath(__file__))
for name, w, h, sampling, quality, progressive, restart, grey in FILES:
    y, x = np.mgrid[0:h, 0:w]
    picture = np.stack([127 + 120 * np.sin(x / 5 + y / 9), (x * 255 // w + 9 * (y % 5)), 255 * ((x // 7 + y // 6) % 2)], 2)
    picture = picture.clip(0, 255).astype("uint8")
    path = os.path.join(here, name + ".jpg")
    cv2.imwrite(path, picture[:, :, 1] if grey else picture, [
        cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive,
        cv2.IMWRITE_JPEG_RST_INTERVAL, restart, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]])
    print(f'    ("{name}", {w}, {h}, {fnv(cv2.imread(path)[:, :, ::-1].tobytes()):#018x}),')
