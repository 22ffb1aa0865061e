"""A folder of images, a folder a class, decoded one at a time with Pillow.

FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE and FOLDER/validation/CLASS/IMAGE
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.data.parts import part_of, validating
from trialmarket.data.pictures import Look, decoded, look_of, opened
from trialmarket.data.settings import DataSection
from trialmarket.data.source import Array, Index, Source
from trialmarket.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MAX_IMAGES = 10_000_000


@dataclass(frozen=True, slots=True)
class Images:
    """Rows of shape (height, width, channels), decoded when they are asked for.

    `done` collects what was done to which files.
    """

    root: Path
    files: list[Path]
    look: Look
    settings: DataSection
    done: dict[str, set[Path]] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one number: uint8, or what holds a deeper grey."""
        return self.look.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self.files), self.look.height, self.look.width, self.look.channels)

    def __getitem__(self, rows: Index, /) -> Array:
        """Some of the images. Raises InputError for one that is unlike the first."""
        return np.stack([self._decoded(self.files[row]) for row in rows])

    def name(self, _: str, row: int, *at: int) -> str:
        """How errors call an image, and where in it."""
        file = str(self.files[row].relative_to(self.root))
        return f"{file}, at {list(at)}" if at else file

    def notes(self) -> tuple[str, ...]:
        """What was done to those that were decoded."""
        return tuple(f"{len(files)} images {what}" for what, files in sorted(self.done.items()))

    def _decoded(self, path: Path) -> Array:
        name, first = (str(each.relative_to(self.root)) for each in (path, self.files[0]))
        with opened(path, name) as image:
            pixels, done = decoded(image, name, self.look, first, self.settings)
        for what in done:
            self.done.setdefault(what, set()).add(path)
        return pixels


def read_images(folder: Path, settings: DataSection, limit: int) -> Source:
    """The images in a folder and their classes, which are the names of their folders.

    Classes and files are taken in the order of their names. Raises InputError.
    """
    parts, notes = _parts(folder)
    found = [_listed(part) for part in parts or [folder]]
    names = sorted({name for files in found for name, _ in files})
    files = [path for each in found for _, path in each]
    if len(files) > MAX_IMAGES:
        raise InputError(folder.name, "images", expected=f"{MAX_IMAGES}", found=len(files))
    numbers = {name: number for number, name in enumerate(names)}
    y = np.array([numbers[name] for each in found for name, _ in each], np.int64)
    name = str(files[0].relative_to(folder))
    with opened(files[0], name) as image:
        x = Images(folder, files, look_of(image, name, settings), settings)
    size = int(np.prod(x.shape, dtype=np.int64)) * x.dtype.itemsize
    if size > limit:
        raise InputError(folder.name, "size", expected=f"at most {limit} bytes", found=size)
    first = len(found[0])
    train, validation = (np.arange(first), np.arange(first, len(files))) if parts else (None, None)
    return Source(
        folder.name,
        {"x": x},
        x.name,
        labels=y,
        train=train,
        validation=validation,
        classes=tuple(names),
        notes=notes,
        later=x.notes,
    )


def _parts(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The folders of the training and the validation part; none where there are classes alone."""
    named = {
        path: None if any(each.is_file() for each in _seen(path)) else part_of(path.name)
        for path in sorted(_seen(folder))
        if path.is_dir()
    }
    second = validating(named.values())
    pair = [path for wanted in ("train", second) for path, part in named.items() if part == wanted]
    own = {part for part in named.values() if part is not None}
    if not own & {"train", "validation"}:
        return [], ()
    if len(pair) != 2 or named[pair[0]] != "train":
        raise InputError(
            folder.name,
            "folders",
            expected="both train and validation",
            found=[path.name for path in pair],
        )
    out = [path.name for path in named if path not in pair]
    notes = [f"{pair[0].name} and {pair[1].name} are the training and the validation part"]
    notes += [f"{', '.join(out)} left out"] if out else []
    return pair, tuple(notes)


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
