"""How the HEIC files beside this were made: no decoder we use can write them, so this ran once in an environment of its own.

    pip install numpy pillow==11.3.0 pillow-heif==1.8.1 && python tests/data/make_heic.py p3.icc

``p3.icc`` is ``PROFILES["P3"]`` of ``tests/media/test_colours.py``: as phones write it, a profile and no numbers. ``scene`` is the picture in all of them, in the colours each file says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

HERE = Path(__file__).parent
SIZE = 96, 64


def scene() -> np.ndarray:
    """``[H W 3]`` in 0..1: red rises to the right, green falls, blue is even; bright at one corner only."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.stack([0.15 + 0.7 * x / SIZE[0], 0.85 - 0.7 * y / SIZE[1], 0 * x + 0.4], -1)


def save(name: str, values: np.ndarray, bits: int = 8, **options: object) -> None:
    if bits == 8:
        image = pillow_heif.from_pillow(Image.fromarray(np.rint(values * 255).astype(np.uint8)))
    else:
        words = np.rint(values * 65535).astype(np.uint16)
        image = pillow_heif.from_bytes("RGB;16", SIZE, words.tobytes())
    exif = Image.Exif()
    if "orientation" in options:
        exif[0x0112] = options.pop("orientation")
        image.info["exif"] = exif.tobytes()
    profile = options.pop("icc_profile", None)
    if profile:
        image.info["icc_profile"] = profile
    image.save(HERE / name, quality=95, chroma=444, **options)


if __name__ == "__main__":
    save("plain.heic", scene())
    save("profile.heic", scene(), icc_profile=Path(sys.argv[1]).read_bytes(), save_nclx_profile=False)
    save("turned.heic", scene(), orientation=6)
    save("ten-bit-p3.heic", scene(), 10, color_primaries=12, transfer_characteristics=13, matrix_coefficients=1)
    save("pq.heic", 0.6 * scene(), 10, color_primaries=9, transfer_characteristics=16, matrix_coefficients=9)
