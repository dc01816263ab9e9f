"""Any pixel layout -> 8-bit sRGB, with transparency flattened on a colour."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from . import cicp
from .deep import eight

_SRGB = ImageCms.createProfile("sRGB")
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


def to_rgba(image: Image.Image, encoding: cicp.ColourSpace | None = None) -> Image.Image:
    """``image`` (loaded, any mode) as RGB, or as RGBA where it is transparent somewhere.

    Its colours are what ``encoding`` says, else the embedded profile.
    """
    profile = None if encoding is not None else image.info.get("icc_profile")
    if image.mode in _WIDE:
        # Pillow's own conversion would clip everything above 255.
        image = Image.fromarray(eight(np.asarray(image)))
    alpha = _alpha(image)
    if image.mode in ("P", "PA", "La", "RGBa", "LA", "RGBA", "1"):
        # A palette's profile describes its colours, which are RGB once looked up.
        image = image.convert("L" if image.mode in ("LA", "La", "1") else "RGB")
    rgb = _with_profile(image, profile) or _without_profile(image)
    if encoding is not None and not encoding.is_srgb:
        rgb = Image.fromarray(cicp.to_srgb(np.asarray(rgb), encoding))
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
