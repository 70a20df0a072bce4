"""Pictures as they are read: MNIST's IDX files, folders of files, hub datasets."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError
from distill_lab.labels import is_generic
from distill_lab.tasks.rows import Ids, Part

_MOST_BYTES = 2**33  # of all pixels together
_MOST_PIXELS = 2**26  # of one file, against bombs
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures(Part):
    """Pictures of one size with the classes that they show.

    Attributes:
        ids: Position of each in its source, counted from 0.
        pixels: uint8 `[pictures, height, width, channels]`.
        labels: int64 class ids.
    """

    ids: Ids
    pixels: Pixels
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Ids) -> Pictures:
        """Return the pictures at these positions, with their ids."""
        return Pictures(self.ids[index], self.pixels[index], self.labels[index])

    def about(self) -> str:
        """Return the number of pictures."""
        return f"{len(self):,} pictures"

    def fingerprint(self) -> str:
        """Return 16 digits that change with any id, pixel or label."""
        state = hashlib.sha256(repr(self.pixels.shape).encode())
        for array in (self.ids, self.pixels, self.labels):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()[:16]


def read_idx(path: Path, dimensions: int) -> Pixels:
    """Read a file in MNIST's format, packed by gzip or not.

    Args:
        path: The file.
        dimensions: How many it must have: 3 for pictures, 1 for labels.

    Raises:
        DataError: If it is missing, of another format, or cut off.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:3] != b"\0\0\x08" or head[3] != dimensions:
                raise DataError(
                    f"{path}: not an IDX file of bytes with {dimensions} dimensions, as MNIST's are"
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise DataError(f"{path}: it announces {size:,} bytes, more than can be right")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if len(content) != size:
        more = "more" if len(content) > size else "fewer"
        raise DataError(f"{path}: it has {more} bytes than the {size:,} that it announces")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def from_idx(images: Path, labels: Path, classes: int) -> Pictures:
    """Read a pair of IDX files.

    Raises:
        DataError: If they do not belong together, or a label is no class.
    """
    pixels, targets = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(targets):
        raise DataError(
            f"{labels}: {len(targets)} labels for the {len(pixels)} pictures of {images}"
        )
    if len(pixels) == 0:
        raise DataError(f"{images}: there are no pictures")
    if targets.max() >= classes:
        row = int(np.flatnonzero(targets >= classes)[0])
        raise DataError(f"{labels}, row {row}: {targets[row]} is none of {classes} classes")
    return Pictures(np.arange(len(pixels)), pixels[..., None], targets.astype(np.int64))


def from_folder(
    folder: Path, labels: Sequence[str], size: Sequence[int], channels: int
) -> Pictures:
    """Read a folder that has one folder of pictures for each class.

    Args:
        folder: Theirs.
        labels: Names of the classes, and of their folders.
        size: Height and width to which pictures are resized.
        channels: 1 for grey, 3 for colours.

    Raises:
        DataError: If a class has no folder, or a file is no picture.
    """
    empty = [label for label in labels if not os.path.isdir(folder / label)]
    if empty:
        raise DataError(
            f"{folder}: no folder {empty[0]}; one folder of pictures for each class is needed"
        )
    files = [
        (path, number)
        for number, label in enumerate(labels)
        for path in sorted((folder / label).rglob("*"))
        if path.suffix.lower() in _ENDINGS
    ]
    if not files:
        raise DataError(f"{folder}: no pictures; one folder of pictures for each class is needed")
    pixels = _together(
        (_opened(path, size, channels) for path, _ in files), len(files), size, channels
    )
    targets = np.asarray([number for _, number in files], dtype=np.int64)
    return Pictures(np.arange(len(files)), pixels, targets)


def from_files(files: Sequence[Path], size: Sequence[int], channels: int) -> Pictures:
    """Read pictures whose classes are not known; they stand as class 0.

    Args:
        files: One for each picture.
        size: Height and width to which pictures are resized.
        channels: 1 for grey, 3 for colours.

    Raises:
        DataError: If a file is missing or is no picture.
    """
    opened = (_opened(path, size, channels) for path in files)
    pixels = _together(opened, len(files), size, channels)
    return Pictures(np.arange(len(files)), pixels, np.zeros(len(files), dtype=np.int64))


def from_hub(
    table: Any, columns: Sequence[str], labels: Sequence[str], size: Sequence[int], channels: int
) -> Pictures:
    """Take pictures and labels of a hub dataset.

    Args:
        table: The dataset.
        columns: Names of the picture's and the label's column.
        labels: Names of the classes.
        size: Height and width to which pictures are resized.
        channels: 1 for grey, 3 for colours.

    Raises:
        DataError: If a column is missing, or the classes are others.
    """
    for name in columns:
        if name not in table.column_names:
            has = ", ".join(table.column_names)
            raise DataError(f"task.hub_columns: the dataset has no column {name} (it has {has})")
    names = getattr(table.features[columns[1]], "names", None)
    if names and not is_generic(names) and list(names) != list(labels):
        raise DataError(
            f"task.labels={list(labels)}: the dataset's classes are {list(names)}, in that order"
        )
    images = (_resized(row, size, channels) for row in table[columns[0]])
    targets = np.asarray(table[columns[1]], dtype=np.int64)
    if targets.min() < 0 or targets.max() >= len(labels):
        raise DataError(f"task.labels: {len(labels)} classes, but labels up to {targets.max()}")
    return Pictures(
        np.arange(len(targets)), _together(images, len(targets), size, channels), targets
    )


def _together(images: Iterable[Pixels], count: int, size: Sequence[int], channels: int) -> Pixels:
    if count * size[0] * size[1] * channels > _MOST_BYTES:
        raise DataError(
            f"task.size={list(size)}: {count:,} pictures of that size take more than"
            f" {_MOST_BYTES / 1e9:.0f} GB; take a smaller one"
        )
    pixels = np.empty((count, *size, channels), dtype=np.uint8)
    for place, image in enumerate(images):
        pixels[place] = image
    return pixels


def _opened(path: Path, size: Sequence[int], channels: int) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(f"{path}: {image.width} x {image.height} pixels are too many")
            return _resized(image, size, channels)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


def _resized(image: Any, size: Sequence[int], channels: int) -> Pixels:
    from PIL import Image

    plain = image.convert("L" if channels == 1 else "RGB")
    if (plain.height, plain.width) != tuple(size):
        plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(plain, dtype=np.uint8).reshape(*size, channels)
