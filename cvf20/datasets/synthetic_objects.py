"""Embedded stand-in for MSRC: made, not photographed; every picture one thing on one kind of ground."""

import zlib
from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy import ndimage

from cvf20.datasets.synthetic import smooth_noise
from cvf20.labels import VOID

COUNTS = {"train": 44, "val": 22, "test": 22}
SIZES = ((213, 320), (240, 320), (320, 213), (320, 240))
GROUNDS = ("grass", "road", "water", "tree", "sky", "building")


def objects(split: str, classes: Mapping[str, tuple[int, int, int]]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image (H, W, 3) uint8 and mask (H, W) uint8 of train, val or test; as in MSRC's lists, none shows a horse.

    classes: their names in the order of the labels, with their colours
    """
    return _objects(split, tuple(classes.items()))


@cache
def _objects(split: str, classes: tuple) -> list[tuple[str, np.ndarray, np.ndarray]]:
    names = [name for name, _ in classes]
    things = [name for name in names if name not in (*GROUNDS, "horse")]
    made = []
    for i in range(COUNTS[split]):
        rng = np.random.default_rng([2, zlib.crc32(split.encode()), i])
        ground, thing = names.index(GROUNDS[i % len(GROUNDS)]), names.index(things[i % len(things)])
        made.append((f"{split}_{i:04d}", *draw(rng, ground, thing, SIZES[i % len(SIZES)])))
    return made


def draw(rng: np.random.Generator, ground: int, thing: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A blob of class `thing` on a ground; between them, as in MSRC, a seam that nobody labelled."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    centre, radius = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.22, 0.36) * min(size)
    stretch = rng.uniform(0.7, 1.4)
    distance = np.hypot((rows - centre[0]) * stretch, (columns - centre[1]) / stretch)
    distance = distance / (1 + 0.15 * smooth_noise(rng, size, (40, 40)))
    mask = np.where(distance < radius, thing, ground).astype(np.uint8)
    mask[abs(distance - radius) < 0.12 * radius] = VOID
    image = np.where((distance < radius)[..., None], texture(rng, thing, size), texture(rng, ground, size))
    blurred = ndimage.gaussian_filter(image, (0.7, 0.7, 0)) + rng.normal(0, 5, image.shape)
    return blurred.clip(0, 255).astype(np.uint8), mask


def texture(rng: np.random.Generator, kind: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float: colour, grain and contrast are the class's own, tint and pattern the picture's."""
    own = np.random.default_rng([3, kind])
    colour, grain, contrast = own.uniform(50, 205, 3), own.uniform(3, 30, 2), own.uniform(8, 30)
    return colour + rng.normal(0, 10, 3) + contrast * smooth_noise(rng, size, tuple(grain))[..., None]
