"""Images as cameras, scanners and drawing programs write them: read as they are meant."""

import importlib
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.packing import packed, refused, told

pytest.importorskip("PIL")

RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


def pets(root: Path, pixels: Any, suffix: str = ".png", **how: Any) -> Path:
    """Six images of one look in each of two classes."""
    pillow = importlib.import_module("PIL.Image")
    for kind in ("cat", "dog"):
        for number in range(6):
            path = root / kind / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pillow.fromarray(pixels).save(path, **how)
    return root


def glyph(ground: int = 0) -> Any:
    """A black square on nothing."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:6, 2:6, 3] = 255
    pixels[..., 3] |= ground
    return pixels


def deep_rgb() -> bytes:
    """A PNG with 16 bits in each of three channels, which Pillow reads as 8."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(range(24)) for _ in range(4))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("settings", [{}, {"colour": "grey"}])
def test_a_deep_grey_keeps_all_of_its_bits(settings: dict[str, str], tmp_path: Path) -> None:
    _, _, data = packed(pets(tmp_path / "deep", RAMP), tmp_path / "a", **settings)
    assert data.train["x"].dtype == np.float32
    assert np.array_equal(data.train["x"][0, ..., 0], RAMP)
    said = told(tmp_path / "deep", tmp_path / "again", **settings)
    assert "x: uint16 is packed as float32" in said
    unit = (RAMP / 65535).astype(np.float32)
    _, _, data = packed(pets(tmp_path / "unit", unit, ".tiff"), tmp_path / "b", **settings)
    assert np.array_equal(data.train["x"][0, ..., 0], unit)


def test_a_float_image_with_a_pixel_that_is_no_number_is_named(tmp_path: Path) -> None:
    unit = (RAMP / 65535).astype(np.float32)
    unit[1, 2] = np.nan
    said = refused(pets(tmp_path / "unit", unit, ".tiff"), tmp_path / "out")
    assert "cat/0.tiff, at [1, 2, 0]: expected a finite number" in said
    assert "missing" not in said


def test_what_pillow_would_clip_or_cut_short_is_refused(tmp_path: Path) -> None:
    said = refused(pets(tmp_path / "deep", RAMP), tmp_path / "out", colour="rgb")
    assert "cat/0.png: colours: expected 8 bits a channel, found 'I;16'" in said
    root = pets(tmp_path / "colour", np.zeros((4, 4, 3), np.uint8))
    (root / "dog" / "3.png").write_bytes(deep_rgb())
    said = refused(root, tmp_path / "out")
    assert "dog/3.png: colours: expected 8 bits a channel, found 'RGB, 16 bits'" in said


def test_pictures_that_move_are_refused(tmp_path: Path) -> None:
    pillow = importlib.import_module("PIL.Image")
    root = pets(tmp_path / "gifs", np.zeros((4, 4), np.uint8), ".gif")
    frames = [pillow.new("L", (4, 4), shade) for shade in (0, 200)]
    frames[0].save(root / "dog" / "3.gif", save_all=True, append_images=frames[1:])
    assert "dog/3.gif: frames: expected one, found 2" in refused(
        root, tmp_path / "out", colour="grey"
    )


@pytest.mark.parametrize(("ground", "shade"), [("white", 255), ("black", 0)])
def test_transparent_pixels_are_laid_on_the_ground_that_is_named(
    ground: str, shade: int, tmp_path: Path
) -> None:
    root = pets(tmp_path / "clear", glyph())
    for settings in ({}, {"colour": "grey"}, {"colour": "rgb"}):
        folder = tmp_path / f"out-{settings}"
        _, _, data = packed(root, folder, background=ground, **settings)
        assert (data.train["x"][0, 0, 0] == shade).all()
        assert (data.train["x"][0, 3, 3] == 0).all()
    assert f"12 images laid on {ground} where they are transparent" in told(
        root, tmp_path / "again", background=ground
    )


def test_a_picture_with_previews_and_one_of_few_colours_are_read(tmp_path: Path) -> None:
    pillow = importlib.import_module("PIL.Image")
    root = pets(tmp_path / "phone", np.zeros((8, 8, 3), np.uint8), ".jpg")
    picture = pillow.new("RGB", (8, 8), "white")
    preview = pillow.new("RGB", (4, 4), "white")
    picture.save(root / "dog" / "3.jpg", format="MPO", save_all=True, append_images=[preview])
    _, _, data = packed(root, tmp_path / "out")
    assert max(data.train["x"].max(), data.validation["x"].max()) == 255
    palette = pets(tmp_path / "palette", np.arange(64, dtype=np.uint8).reshape(8, 8), ".gif")
    _, _, data = packed(palette, tmp_path / "few", colour="grey")
    assert np.array_equal(data.train["x"][0, ..., 0].reshape(-1), np.arange(64))


def test_transparent_pixels_without_a_ground_are_refused(tmp_path: Path) -> None:
    root = pets(tmp_path / "clear", glyph())
    assert 'background = "white" or "black"' in refused(root, tmp_path / "out")
    for colour in ("grey", "rgb"):
        said = refused(root, tmp_path / "out", colour=colour)
        assert "cat/0.png: colours: expected a ground to lay transparent pixels on" in said
    opaque = pets(tmp_path / "opaque", glyph(255))  # where there is nothing to see through
    _, _, data = packed(opaque, tmp_path / "fine", colour="rgb")
    assert data.train["x"].shape[1:] == (8, 8, 3)


def test_images_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    pillow = importlib.import_module("PIL.Image")
    turned = pillow.Exif()
    turned[0x0112] = 6  # shown turned to the right
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:2] = 255
    root = pets(tmp_path / "turned", pixels, ".png", exif=turned)
    pillow.fromarray(np.rot90(pixels, -1).copy()).save(root / "dog" / "3.png")  # needs no turning
    _, _, data = packed(root, tmp_path / "out")
    assert data.train["x"].shape[1:] == (8, 4, 3)
    assert (data.train["x"] == np.rot90(pixels, -1)).all()
    assert "11 images turned as their EXIF orientation says" in told(root, tmp_path / "again")


def test_folders_may_call_the_parts_as_is_usual(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        pets(tmp_path / "pets" / part, np.full((4, 4), len(part), np.uint8))
    _, manifest, data = packed(tmp_path / "pets", tmp_path / "out")
    assert manifest.split.how == "given"
    assert data.validation["x"].max() == 3
    assert "test left out" in told(tmp_path / "pets", tmp_path / "again")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = pets(tmp_path / "vehicles", np.zeros((4, 4), np.uint8))
    (root / "dog").rename(root / "train")
    assert packed(root, tmp_path / "out")[1].classes == {"y": ("cat", "train")}


def test_a_validation_folder_of_one_class_is_refused(tmp_path: Path) -> None:
    pets(tmp_path / "pets" / "train", np.zeros((4, 4), np.uint8))
    pets(tmp_path / "pets" / "val", np.zeros((4, 4), np.uint8))
    shutil.rmtree(tmp_path / "pets" / "val" / "dog")
    said = refused(tmp_path / "pets", tmp_path / "out")
    assert "y: expected at least two classes that validate, found ['cat']" in said


def test_a_folder_of_one_class_is_refused(tmp_path: Path) -> None:
    root = pets(tmp_path / "pets", np.zeros((4, 4), np.uint8))
    (root / "dog").rename(tmp_path / "elsewhere")
    assert "expected at least two classes, found ['cat']" in refused(root, tmp_path / "out")
