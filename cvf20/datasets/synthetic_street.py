"""Embedded stand-in for Penn-Fudan: streets with people on them who hide each other, the same on every run."""

import zlib
from functools import cache

import numpy as np
from scipy import ndimage

from cvf20.datasets.synthetic import smooth_noise

STREETS = {"train": 24, "val": 8, "test": 8}
SIZES = ((224, 272), (256, 216), (240, 320))  # height, width: as in the real set they differ


@cache
def streets(split: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image (H, W, 3) uint8 and instances (H, W) int32 (0 background) of each street of train, val or test."""
    return [
        (f"{split}_{i:04d}", *street(np.random.default_rng([zlib.crc32(split.encode()), 7, i]), SIZES[i % len(SIZES)]))
        for i in range(STREETS[split])
    ]


def street(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A wall, a pavement and one to four people on it, painted from far to near; some are cut by the border."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    horizon = rng.uniform(0.35, 0.5) * size[0]
    ground = rows > horizon
    image = np.where(ground[..., None], rng.normal(125, 20, 3), rng.normal(140, 30, 3))
    texture = np.where(ground, smooth_noise(rng, size, (4, 16)), smooth_noise(rng, size, (30, 12)))
    image = image + 14 * texture[..., None]
    instances = np.zeros(size, dtype=np.int32)
    count = rng.integers(1, 5)
    places = rng.uniform(0, size[1]) + np.cumsum(rng.uniform(14, 60, count))  # neighbours, often shoulder to shoulder
    feet = np.sort(rng.uniform(0.75, 0.97, count)) * size[0]
    for number, (x, y) in enumerate(zip(places % size[1], feet, strict=True), start=1):
        tall = 1.15 * (y - horizon) * rng.uniform(0.9, 1.1)
        for part, colour in zip(person(rng, (columns - x) / tall, (rows - y) / tall), clothes(rng), strict=True):
            image[part] = colour + 10 * smooth_noise(rng, size, (5, 5))[part][:, None]
            instances[part] = number
    blurred = ndimage.gaussian_filter(image, (0.7, 0.7, 0)) + rng.normal(0, 4, image.shape)
    return np.clip(blurred, 0, 255).astype(np.uint8), instances


def person(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Legs, body with arms, and head, as masks; u to the right and v down from the feet, in units of body height."""
    stride, sway = rng.uniform(0.0, 0.12), rng.uniform(-0.02, 0.02)
    spread = stride * (v + 0.5) / 0.5
    legs = (v < 0) & (v > -0.5) & (np.minimum(abs(u - spread), abs(u + spread)) < 0.055)
    body = ((u - sway) / 0.13) ** 4 + ((v + 0.66) / 0.2) ** 4 < 1
    head = np.hypot((u - sway) / 0.8, v + 0.92) < 0.075
    return legs, body, head


def clothes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours of trousers, coat and skin."""
    trousers, coat = rng.uniform(20, 110, 3), rng.uniform(10, 230, 3)
    return trousers, coat, np.array([190, 150, 125]) * rng.uniform(0.5, 1.1)
