"""Any pixel layout -> 8-bit sRGB, with transparency flattened on a colour.

Pictures of more than 8 bits a channel (TIFF, PNG, HEIC) come in past Pillow, which has no mode for their colours.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from . import cicp, tiff
from .cicp import ColourSpace
from .metadata import PNG

_SRGB = ImageCms.createProfile("sRGB")
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_EIGHT_OF_SIXTEEN = np.rint(np.arange(65536) / 257).astype(np.uint8)  # a table: no wide copy of a large picture
_PNG_MODES = {"rgb48be": "RGB", "rgba64be": "RGBA", "gray16be": "RGB", "ya16be": "RGBA"}
"""By FFmpeg's name of the layout."""


def to_rgba(image: Image.Image, encoding: ColourSpace | None = None) -> Image.Image:
    """``image`` (loaded, any mode) as RGB, or as RGBA where it is transparent somewhere.

    Its colours are what ``encoding`` says, else the embedded profile.
    """
    profile = None if encoding is not None else image.info.get("icc_profile")
    hidden = None
    if image.mode in _WIDE:
        hidden = _hidden(image)
        # Pillow's own conversion would clip everything above 255.
        image = Image.fromarray(eight(np.asarray(image)))
    alpha = _alpha(image) if hidden is None else hidden
    image.info.pop("transparency", None)  # it is in alpha: Pillow would warn of it
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


def _hidden(image: Image.Image) -> Image.Image | None:
    """The alpha channel of a wide grey picture of which one level is transparent."""
    level = image.info.get("transparency")
    return (
        Image.fromarray(np.where(np.asarray(image) == level, 0, 255).astype(np.uint8))
        if isinstance(level, int)
        else None
    )


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


# More than 8 bits a channel


def read_deep(raw: bytes, kind: str | None, encoding: ColourSpace | None) -> Image.Image | None:
    """The first picture as 8 bits, ``encoding`` applied where there is one; None for what Pillow reads as well.

    Limits are the caller's to check. Raises what decoders raise.
    """
    converts = encoding is not None and not encoding.is_srgb
    values: NDArray[Any]
    if kind == "TIFF":
        try:
            values, mode = tiff.pixels(raw)
        except tiff.NotDeep:
            return None
    elif kind == "PNG" and _is_deep_png(raw, converts):
        values, mode = _png(raw)
    elif kind == "HEIF" and converts:
        values, mode = _heif(raw)
    else:
        return None
    if encoding is None or not converts or mode not in ("RGB", "RGBA"):
        return image_of(eight(values), mode)
    alpha = eight(values[..., 3:])
    return image_of(np.concatenate([cicp.to_srgb(values[..., :3], encoding), alpha], axis=-1), mode)


def image_of(values: NDArray[np.uint8], mode: str) -> Image.Image:
    """``[H W C]`` as a picture of ``mode``."""
    height, width = values.shape[:2]
    image = Image.frombuffer(mode, (width, height), np.ascontiguousarray(values), "raw", mode, 0, 1).copy()
    return image.convert({"La": "LA", "RGBa": "RGBA"}[mode]) if mode in ("La", "RGBa") else image


def eight(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Whole numbers or fractions of any width as 0..255; what does not say where its white is, as ``scale`` finds it."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return np.asarray(_EIGHT_OF_SIXTEEN[values])
    numbers: NDArray[np.float32] = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = scale(numbers, values.dtype)
    scaled = np.clip((numbers - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def scale(values: NDArray[np.float32], dtype: np.dtype[Any]) -> tuple[float, float]:
    """What black and white mean where the file does not say: 0..1, 0..255, 0..65535, the whole of a wide integer, else
    the range in use. Fractions may run over a white of 1 here and there.
    """
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if dtype.kind == "f" and low > -1 and np.percentile(values.reshape(-1)[:: max(1, values.size // 100_000)], 99) <= 1:
        return 0.0, 1.0
    for white in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= white:
            return 0.0, white
    if dtype.kind in "ui" and dtype.itemsize == 4 and low >= 0 and high > 1 << 24:
        return 0.0, float(np.iinfo(dtype).max)
    return low, high


def _is_deep_png(raw: bytes, converts: bool) -> bool:
    """16 bits of colour, or of grey that is to be converted; Pillow keeps other grey whole by itself."""
    return (
        raw.startswith(PNG) and len(raw) > 26 and raw[24] == 16 and (raw[25] in (2, 6) or (raw[25] == 0 and converts))
    )


def _png(raw: bytes) -> tuple[NDArray[np.uint16], str]:
    import av  # only where it is needed: the page starts without it

    container: Any
    with av.open(io.BytesIO(raw), format="png_pipe") as container:
        frame = next(container.decode(video=0))
    if frame.format.name not in _PNG_MODES or (frame.width, frame.height) != struct.unpack_from(">II", raw, 16):
        raise ValueError(f"{frame.format.name} of {frame.width} x {frame.height}")
    if frame.format.name == "ya16be":  # grey of which one level is transparent
        words = np.frombuffer(frame.planes[0], ">u2").reshape(frame.height, -1)[:, : 2 * frame.width]
        return words.reshape(frame.height, frame.width, 2)[..., [0, 0, 0, 1]].astype(np.uint16), "RGBA"
    values = frame.to_ndarray().astype(np.uint16)
    return values if values.ndim == 3 else values[..., None].repeat(3, -1), _PNG_MODES[frame.format.name]


def _heif(raw: bytes) -> tuple[NDArray[np.uint16] | NDArray[np.uint8], str]:
    import pi_heif

    image = pi_heif.open_heif(io.BytesIO(raw), convert_hdr_to_8bit=False)
    values = np.array(image)[:, : image.size[0]]  # a copy: the pixels die with the decoder
    return values, "RGBA" if values.shape[-1] == 4 else "RGB"
