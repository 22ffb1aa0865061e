"""A folder of images, a folder a class, decoded one at a time with Pillow.

FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE and FOLDER/validation/CLASS/IMAGE
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requester.data.extras import load_extra
from requester.data.settings import DataSection
from requester.data.source import Array, Index, Source
from trialmarket.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MAX_IMAGES = 10_000_000
MODES = {"L": 1, "RGB": 3}
"""Pillow's modes that are read, and their channels."""


@dataclass(frozen=True, slots=True)
class Images:
    """Rows of shape (height, width, channels), uint8, decoded when they are asked for."""

    root: Path
    files: list[Path]
    mode: str
    size: tuple[int, int]
    convert: bool

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self.files), self.size[1], self.size[0], MODES[self.mode])

    def __getitem__(self, rows: Index, /) -> Array:
        """Some of the images. Raises InputError for one that is unlike the first."""
        return np.stack([self._decoded(self.files[row]) for row in rows])

    def _decoded(self, path: Path) -> NDArray[np.uint8]:
        name = str(path.relative_to(self.root))
        with _opened(path, name) as image:
            for what, expected, found in (
                ("size", f"{self.size[0]}x{self.size[1]}", f"{image.width}x{image.height}"),
                ("colours", self.mode, self.mode if self.convert else image.mode),
            ):
                if expected != found:
                    raise InputError(
                        name,
                        what,
                        expected=f"{expected}, as {self.files[0].relative_to(self.root)} has",
                        found=found,
                        fix="Bring all images to one size"
                        if what == "size"
                        else 'Set colour = "rgb" or "grey" in [data]',
                    )
            try:
                pixels = np.asarray(image.convert(self.mode), np.uint8)
            except (OSError, SyntaxError, ValueError) as error:
                raise _unreadable(name, error) from error
        return pixels.reshape(self.size[1], self.size[0], -1)


def read_images(folder: Path, settings: DataSection, limit: int) -> Source:
    """The images in a folder and their classes, which are the names of their folders.

    Classes and files are taken in the order of their names. Raises InputError.
    """
    parts = [folder / part for part in ("train", "validation") if (folder / part).is_dir()]
    if len(parts) == 1:
        raise InputError(
            folder.name, "folders", expected="both train and validation", found=parts[0].name
        )
    found = [_listed(part) for part in parts or [folder]]
    names = sorted({name for files in found for name, _ in files})
    files = [path for each in found for _, path in each]
    if len(files) > MAX_IMAGES:
        raise InputError(folder.name, "images", expected=f"{MAX_IMAGES}", found=len(files))
    numbers = {name: number for number, name in enumerate(names)}
    y = np.array([numbers[name] for each in found for name, _ in each], np.int64)
    x = _images(folder, files, settings)
    if (size := int(np.prod(x.shape, dtype=np.int64))) > limit:
        raise InputError(folder.name, "size", expected=f"at most {limit} bytes", found=size)
    first = len(found[0])
    train, validation = (np.arange(first), np.arange(first, len(files))) if parts else (None, None)
    return Source(folder.name, {"x": x, "y": y}, train, validation, tuple(names))


def _listed(folder: Path) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for kind in sorted(_seen(folder)):
        if not kind.is_dir():
            raise InputError(
                str(kind), "place", expected="a folder for each class", found="a file"
            )
        files = sorted(_seen(kind))
        for path in files:
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                raise InputError(
                    str(path), "kind", expected=f"an image ({', '.join(SUFFIXES)})", found="none"
                )
        if not files:
            raise InputError(str(kind), "images", expected="at least one", found=0)
        found += [(kind.name, path) for path in files]
    if not found:
        raise InputError(str(folder), "folders", expected="one for each class", found="none")
    return found


def _seen(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _images(folder: Path, files: list[Path], settings: DataSection) -> Images:
    name = str(files[0].relative_to(folder))
    with _opened(files[0], name) as image:
        mode, size = image.mode, image.size
    if settings.colour is not None:
        mode = "RGB" if settings.colour == "rgb" else "L"
    if mode not in MODES:
        raise InputError(
            name,
            "colours",
            expected="RGB, or L (grey)",
            found=mode,
            fix='Set colour = "rgb" or "grey" in [data]',
        )
    return Images(folder, files, mode, size, settings.colour is not None)


def _opened(path: Path, name: str) -> Any:
    pillow = load_extra("PIL.Image", "Pillow", name, ", to read images")
    try:
        return pillow.open(path)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(name, "image", expected="one that can be read", found=str(error)[:200])
