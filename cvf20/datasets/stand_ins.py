"""Stand-ins for a machine without data and without network: drawn in milliseconds, the same on every run, learnable.

Every class has its colour; sizes, label types and roughly the scenes' class shares are those of the real data.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching

Made = list[tuple[str, np.ndarray, np.ndarray]]

COUNT = {"train": 48, "val": 16, "test": 16}
SKY, TREE, ROAD, GRASS, WATER, BUILDING, MOUNTAIN, FOREGROUND, MISC = range(9)
SCENE_COLOURS = np.array(
    [[*bytes.fromhex(c)] for c in "a8c4e0 3e502e 807c78 68803e 587084 947e6e 686c70 6e605c 96783c".split()]
)
GROUNDS = ("grass", "road", "water", "tree", "sky", "building")
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


def scene(rng, i: int) -> tuple[np.ndarray, np.ndarray]:
    """An outdoor scene (224, 288, 3) uint8 and its nine classes (224, 288) uint8.

    From far to near: sky, mountain, trees, houses, two kinds of ground, things that stand on it, a post.
    """
    height, width, mountains = 224, 288, i % 4 == 1
    rows, columns = np.ogrid[:height, :width]
    mask = np.full((height, width), SKY, dtype=np.uint8)
    horizon = rng.uniform(0.45, 0.65) * height
    if mountains:
        mask[rows > horizon - rng.uniform(35, 70) - 10 * np.sin(columns / 25)] = MOUNTAIN
    elif rng.random() < 0.8:
        mask[rows > horizon - rng.uniform(30, 105) - 12 * np.sin(columns / 9)] = TREE
    for left in rng.uniform(-60, width, rng.poisson(1 if mountains else 6)):
        wide, tall = rng.uniform((50, 50), (90, 140))
        mask[(columns > left) & (columns < left + wide) & (rows > horizon - tall)] = BUILDING
    for x in rng.uniform(0, width, rng.poisson(2)):
        mask[np.hypot(columns - x, rows - horizon + 40) < rng.uniform(22, 48)] = TREE
    ground = rng.choice([ROAD, GRASS, WATER], 2, p=[0.62, 0.25, 0.13])
    mask = np.where(rows > horizon, np.where(columns > rng.uniform(0, width), *ground), mask).astype(np.uint8)
    for y, x in rng.uniform((horizon, 0), (height, width), (1 + rng.poisson(1.9), 2)):
        tall = 14 + 0.3 * (y - horizon) + rng.uniform(0, 14)
        mask[((rows - y + tall) / tall) ** 4 + ((columns - x) / (0.7 * tall)) ** 4 < 1] = FOREGROUND
    if rng.random() < 0.5:
        x, y = rng.uniform(10, width - 10), rng.uniform(horizon, height)
        mask[(abs(columns - x) < 4) & (rows < y) & (rows > y - 70)] = MISC
    return paint(rng, mask, SCENE_COLOURS + rng.normal(0, 8, 3) + rng.normal(0, 10, (9, 3)) + rng.normal(0, 14)), mask


def thing(rng, i: int, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One thing on one ground, a void seam between them: image (H, W, 3), classes (H, W) uint8; none shows a horse."""
    things, size = [name for name in classes if name not in (*GROUNDS, "horse")], SIZES[i % 4]
    colours = np.random.default_rng(3).uniform(50, 205, (len(classes), 3))  # a class's own in every picture
    rows, columns = np.ogrid[: size[0], : size[1]]
    y, x = rng.uniform(0.35, 0.65, 2) * size
    away = np.hypot(rows - y, columns - x) / (rng.uniform(0.2, 0.34) * min(size))
    mask = np.where(away < 1, classes.index(things[i % len(things)]), classes.index(GROUNDS[i % len(GROUNDS)]))
    image = paint(rng, mask, colours + rng.normal(0, 8, 3))
    mask[abs(away - 1) < 0.12] = VOID
    return image, mask.astype(np.uint8)


def street(rng, i: int) -> tuple[np.ndarray, np.ndarray]:
    """People who hide each other before a wall: image (H, W, 3) uint8, people (H, W) int32 numbered 1 … 4."""
    height, width = SIZES[i % 4]
    rows, columns = np.ogrid[:height, :width]
    people, x = np.zeros((height, width), dtype=np.int32), rng.uniform(0, width)
    for person, foot in enumerate(np.sort(rng.uniform(0.75, 0.97, rng.integers(1, 5))) * height, start=1):
        x, tall = (x + rng.uniform(16, 60)) % width, rng.uniform(0.45, 0.6) * foot  # often shoulder to shoulder
        across, up = (columns - x) / tall, (foot - rows) / tall  # 0 at the feet, 1 at the crown
        body = (across / 0.14) ** 4 + ((up - 0.43) / 0.43) ** 4 < 1
        people[body | (np.hypot(across, up - 0.92) < 0.08)] = person
    surface = np.where(people > 0, people + 1, rows > rng.uniform(0.35, 0.5) * height)  # 0 wall, 1 ground
    return paint(rng, surface, np.concatenate([rng.normal(135, 25, (2, 3)), rng.uniform(10, 230, (4, 3))])), people


@cache
def colony(number: int, frames: int = 20, size: int = 256) -> Made:
    """A colony's growth in phase contrast: image (H, W) uint8, foreground (H, W) uint8 in {0, 1} of parted cells.

    Cells sit along a shaken spiral, as a sunflower's seeds do, and are born from the middle outwards; each pixel belongs
    to the nearest cell, and grown neighbours touch.
    """
    k, rng = np.arange(120), random("colony", number)
    centres = size / 2 + 8 * np.sqrt(k)[:, None] * np.stack([np.cos(2.4 * k), np.sin(2.4 * k)], 1)
    centres += rng.normal(0, 1.2, centres.shape)
    distance, cell = cKDTree(centres).query(np.moveaxis(np.indices((size, size), np.float32), 0, -1))
    births = np.linspace(0, frames**2, len(centres)) ** 0.5 - 3  # in frames; the first ones are there at the start
    made = []
    for time in range(frames):
        radius = np.where(births > time, 1e-6, (3 + 1.5 * (time - births)).clip(1e-6, 8.4))
        share = distance / radius[cell]  # 0 in the middle of a cell, 1 on its rim
        core = (share < 0.88).astype(np.float32)
        halo = ndimage.gaussian_filter(core, 3, truncate=2) * (1 - core)
        grey = 110 + 210 * halo - 25 * core - 20 * core * (share > 0.6) + 4 * noise()[time : time + size, :size]
        cells = separate_touching(np.where(share < 1, cell + 1, 0))
        made.append((f"set_{number}_time_{time}", grey.clip(0, 255).astype(np.uint8), cells))
    return made
