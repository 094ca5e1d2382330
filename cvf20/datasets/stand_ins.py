"""Drawn stand-ins for data that is not there: always the same, learnable by colour, with the real sizes and types."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching

Made = list[tuple[str, np.ndarray, np.ndarray]]

COUNT = {"train": 48, "val": 16, "test": 16}
THINGS = (  # of a scene, from far to near: class, mean number, heights, width by height, anywhere on the ground
    *(("mountain", 0.8, (50, 80), 4, False), ("tree", 6, (60, 110), 0.8, False)),
    *(("building", 4.5, (50, 140), 0.6, False), ("foreground", 3.5, (25, 75), 1.2, True)),
    ("misc", 0.6, (50, 90), 0.12, True),
)
LANDSCAPE = ("sky", "road", "grass", "water", "mountain", "tree", "building", "horse")
SIZES = ((213, 320), (240, 320), (320, 213), (224, 272))  # height, width: photographs differ


@cache
def drawn(draw: Callable, split: str, *more) -> Made:
    """Samples named by their split and number i, each draw(random numbers, i, *more): image and mask."""
    return [(f"{split}_{i:04d}", *draw(random(draw.__name__, split, i), i, *more)) for i in range(COUNT[split])]


def random(*kind) -> np.random.Generator:
    return np.random.default_rng([*str(kind).encode()])


@cache
def noise() -> np.ndarray:
    """(512, 512) float32 of mean 0 and standard deviation 1, with a fine and a coarse grain."""
    white = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    mixed = white + 10 * ndimage.gaussian_filter(white, 3, mode="wrap")
    return mixed / mixed.std()


def paint(rng, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) uint8 of labels (H, W): label k gets colours[k] and noise."""
    (y, x), (height, width) = rng.integers(0, 512 - np.array(labels.shape)), labels.shape
    image = colours.astype(np.float32)[labels] + 16 * noise()[y : y + height, x : x + width, None]
    return image.clip(0, 255).astype(np.uint8)


def stands(rows, columns, foot: float, x: float, tall: float, wide: float) -> np.ndarray:
    """(H, W) bool: a box with round corners that stands in row `foot`, its middle in column x."""
    return ((rows - foot) / tall * 2 + 1) ** 4 + ((columns - x) / wide * 2) ** 4 < 1


def scene(rng, i: int, classes: tuple[str, ...], sizes: tuple, seam: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sky above two grounds, and THINGS: image (H, W, 3) and classes (H, W) uint8, void on a seam between them."""
    height, width = sizes[i % len(sizes)]
    rows, columns = np.ogrid[:height, :width]
    horizon = rng.uniform(0.45, 0.65) * height
    sky, *ground = map(classes.index, ("sky", *rng.choice(["road", "grass", "water"], 2, p=[0.64, 0.26, 0.1])))
    mask = np.where(rows > horizon, np.where(columns > rng.uniform(0, width), *ground), sky).astype(np.uint8)
    others = [name for name in classes if name not in LANDSCAPE]  # instead of THINGS that the data lacks
    for kind, number, heights, shape, is_near in THINGS:
        for _ in range(rng.poisson(number)):
            foot, tall = rng.uniform(horizon, height) if is_near else horizon, rng.uniform(*heights)
            there = stands(rows, columns, foot, rng.uniform(0, width), tall, shape * tall)
            mask[there] = classes.index(kind if kind in classes else rng.choice(others))
    colours = np.random.default_rng(3).uniform(50, 205, (len(classes), 3))  # a class's own in every picture
    image = paint(rng, mask, colours + rng.normal(0, 8, 3))
    mask[ndimage.morphological_gradient(mask, size=1 + seam) > 0] = VOID
    return image, mask


def street(rng, i: int) -> tuple[np.ndarray, np.ndarray]:
    """People who hide each other before a wall: image (H, W, 3) uint8, people (H, W) int32 numbered 1 … 4."""
    height, width = SIZES[i % 4]
    rows, columns = np.ogrid[:height, :width]
    people, x = np.zeros((height, width), dtype=np.int32), rng.uniform(0, width)
    for person, foot in enumerate(np.sort(rng.uniform(0.75, 0.97, rng.integers(1, 5))) * height, start=1):
        x, tall = (x + rng.uniform(16, 60)) % width, rng.uniform(0.45, 0.6) * foot  # often shoulder to shoulder
        head = np.hypot(columns - x, rows - foot + 0.92 * tall) < 0.08 * tall
        people[head | stands(rows, columns, foot, x, 0.86 * tall, 0.28 * tall)] = person
    surface = np.where(people > 0, people + 1, rows > rng.uniform(0.35, 0.5) * height)  # 0 wall, 1 ground
    return paint(rng, surface, np.concatenate([rng.normal(135, 25, (2, 3)), rng.uniform(10, 230, (4, 3))])), people


@cache
def colony(number: int, frames: int = 20, size: int = 256) -> Made:
    """A colony's growth in phase contrast: image (H, W) uint8, foreground (H, W) uint8 in {0, 1} of parted cells."""
    k, rng = np.arange(120), random("colony", number)  # cells along a shaken spiral, born from the middle outwards
    centres = size / 2 + 8 * np.sqrt(k)[:, None] * np.stack([np.cos(2.4 * k), np.sin(2.4 * k)], 1)
    centres += rng.normal(0, 1.2, centres.shape)
    distance, cell = cKDTree(centres).query(np.moveaxis(np.indices((size, size), np.float32), 0, -1))
    births = np.linspace(0, frames**2, len(centres)) ** 0.5 - 3  # in frames; the first ones are there at the start
    made = []
    for time in range(frames):
        radius = np.where(births > time, 1e-6, (3 + 1.5 * (time - births)).clip(1e-6, 8.4))
        share = distance / radius[cell]  # 0 in the middle of a cell, 1 on its rim
        cells = separate_touching(np.where(share < 1, cell + 1, 0))
        halo = ndimage.gaussian_filter(cells.astype(np.float32), 3, truncate=2) * (1 - cells)
        grey = 110 + 210 * halo - 25 * cells - 20 * cells * (share > 0.6) + 4 * noise()[time : time + size, :size]
        made.append((f"set_{number}_time_{time}", grey.clip(0, 255).astype(np.uint8), cells))
    return made
