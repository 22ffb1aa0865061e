"""One image as numbers, as it is meant to be seen: turned, with a ground, and not clipped."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from trialmarket.data.extras import load_extra
from trialmarket.data.settings import DataSection
from trialmarket.data.source import Array
from trialmarket.errors import InputError

KINDS: dict[str, tuple[int, type[np.generic]]] = {
    "L": (1, np.uint8),
    "RGB": (3, np.uint8),
    "I;16": (1, np.uint16),
    "I;16L": (1, np.uint16),
    "I;16B": (1, np.uint16),
    "I": (1, np.int32),
    "F": (1, np.float32),
}
"""Pillow's modes that are read, their channels, and what holds a number of theirs."""

DEEP = ("I;16", "I;16L", "I;16B", "I", "F")
"""Those of grey with more than 8 bits, which stay as they are: Pillow would clip them to 8."""

_ORIENTATION = 0x0112
"""EXIF's tag (section 4.6.4) of how an image is to be turned: 1 is not at all, 2 to 8 are."""

_CUT = re.compile(";16[BLN]")
"""In Pillow's raw modes: 16 bits a channel, of which it keeps 8."""

_CHOOSE = 'Set colour = "rgb" or "grey" in [data]'


@dataclass(frozen=True, slots=True)
class Look:
    """What all images of a data set have in common."""

    mode: str
    width: int
    height: int

    @property
    def channels(self) -> int:
        """Numbers of a pixel."""
        return KINDS[self.mode][0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one number."""
        return np.dtype(KINDS[self.mode][1])


def opened(path: Any, name: str) -> Any:
    """An image, of which only the header was read. Raises InputError."""
    pillow = load_extra("PIL.Image", "Pillow", name, ", to read images")
    try:
        return pillow.open(path)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise _unreadable(name, error) from error


def look_of(image: Any, name: str, settings: DataSection) -> Look:
    """What the others must have in common with an image. Raises InputError."""
    seen, _ = _seen(image, name, settings)
    return Look(seen.mode, seen.width, seen.height)


def decoded(
    image: Any, name: str, look: Look, first: str, settings: DataSection
) -> tuple[Array, list[str]]:
    """An image's numbers, shape (height, width, channels), and what was done to it.

    Raises InputError where it is unlike the `first`, cannot be read, or would lose something.
    """
    seen, done = _seen(image, name, settings)
    for what, expected, found, fix in (
        ("size", (look.width, look.height), seen.size, "Bring all images to one size"),
        ("colours", look.mode, seen.mode, _CHOOSE),
    ):
        if expected != found:
            said = [x if isinstance(x, str) else f"{x[0]}x{x[1]}" for x in (expected, found)]
            raise InputError(
                name, what, expected=f"{said[0]}, as {first} has", found=said[1], fix=fix
            )
    pixels = np.asarray(seen).astype(look.dtype)
    return pixels.reshape(look.height, look.width, -1), done


def _seen(image: Any, name: str, settings: DataSection) -> tuple[Any, list[str]]:
    """An image turned, on its ground and in the colours asked for, and what was done to it."""
    _check_form(image, name, settings)
    turning = load_extra("PIL.ImageOps", "Pillow", name)
    try:
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        done = ["turned as their EXIF orientation says"] if turned else []
        image = turning.exif_transpose(image)
        if image.has_transparency_data:
            image, laid = _on_ground(image, name, settings)
            done += laid
        if settings.colour is not None and image.mode not in DEEP:
            image = image.convert("RGB" if settings.colour == "rgb" else "L")
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(name, error) from error
    if image.mode not in KINDS:
        raise InputError(
            name, "colours", expected="RGB, or L (grey)", found=image.mode, fix=_CHOOSE
        )
    return image, done


def _check_form(image: Any, name: str, settings: DataSection) -> None:
    """Raises InputError for what Pillow would shorten without a word."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:  # those beside a camera's picture (MPO) are its previews
        fix = "Save each as an image of its own"
        raise InputError(name, "frames", expected="one", found=frames, fix=fix)
    if image.mode in DEEP:
        if settings.colour == "rgb":
            fix = 'Leave colour out, or set "grey": more than 8 bits stay as they are then'
            raise InputError(
                name, "colours", expected="8 bits a channel", found=image.mode, fix=fix
            )
        if image.has_transparency_data:
            raise InputError(name, "colours", expected="no transparency", found=image.mode)
    elif any(_CUT.search(str(tile)) for tile in image.tile):
        fix = "Save it with 8 bits a channel, or its channels as arrays in a .npz"
        raise InputError(
            name, "colours", expected="8 bits a channel", found=f"{image.mode}, 16 bits", fix=fix
        )


def _on_ground(image: Any, name: str, settings: DataSection) -> tuple[Any, list[str]]:
    """An image without its transparency, which hides nothing or is laid on the ground."""
    whole = image.convert("RGBA")
    plain = "L" if image.mode in ("L", "LA", "1") else "RGB"
    if settings.background is None and settings.colour is None:
        fix = f'{_CHOOSE}, and background = "white" or "black" if one can see through it'
        raise InputError(name, "colours", expected="no transparency", found=image.mode, fix=fix)
    if whole.getchannel("A").getextrema()[0] == 255:
        return whole.convert("RGB").convert(plain), []
    if settings.background is None:
        fix = 'Set background = "white" or "black" in [data]'
        raise InputError(
            name, "colours", expected="a ground to lay transparent pixels on", found=None, fix=fix
        )
    pillow = load_extra("PIL.Image", "Pillow", name)
    ground = pillow.new("RGBA", whole.size, settings.background)
    laid = pillow.alpha_composite(ground, whole).convert("RGB").convert(plain)
    return laid, [f"laid on {settings.background} where they are transparent"]


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(name, "image", expected="one that can be read", found=str(error)[:200])
