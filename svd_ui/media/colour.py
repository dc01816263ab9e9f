"""Any pixel layout -> 8-bit sRGB, with transparency flattened on a colour."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_EIGHT_OF_SIXTEEN = np.rint(np.arange(65536) / 257).astype(np.uint8)  # a table: no wide copy of a large picture


def to_rgba(image: Image.Image) -> Image.Image:
    """``image`` (loaded, any mode) as RGB, or as RGBA where it is transparent somewhere; embedded profiles applied."""
    if image.mode in (*_SIXTEEN_BIT, "I", "F"):
        return _from_wide(image).convert("RGB")
    alpha = _alpha(image)
    profile = image.info.get("icc_profile")
    if image.mode in ("P", "PA", "La", "RGBa", "LA", "RGBA", "1"):
        # A palette's profile describes its colours, which are RGB once looked up.
        image = image.convert("L" if image.mode in ("LA", "La", "1") else "RGB")
    rgb = _with_profile(image, profile) or _without_profile(image)
    if alpha is not None:
        rgb.putalpha(alpha)
    return rgb


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """RGB or RGBA -> RGB, transparent parts filled with ``background`` (0..255 each)."""
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _alpha(image: Image.Image) -> Image.Image | None:
    """The alpha channel [0..255], or None where the picture is opaque throughout."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else alpha


def _with_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Converted through the embedded ICC profile, or None without one that fits (broken ones are common)."""
    if not profile or image.mode not in ("L", "RGB", "CMYK", "YCbCr", "LAB"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _without_profile(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        converted = ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), _SRGB, outputMode="RGB")
        assert converted is not None  # only None when converting in place
        return converted
    return image.convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> L. Pillow's own conversion would clip everything above 255.

    16-bit values keep their full scale (65535 is white); wider ones are scaled to the range in use.
    """
    if image.mode in _SIXTEEN_BIT:
        return Image.fromarray(_EIGHT_OF_SIXTEEN[np.asarray(image)])
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _range(values)
    scaled = np.clip((values - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _range(values: np.ndarray) -> tuple[float, float]:
    """What black and white mean where the file does not say: 0..1, 0..255 or 0..65535, else the range in use."""
    low, high = float(values.min()), float(values.max())
    for white in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= white:
            return 0.0, white
    return low, high
