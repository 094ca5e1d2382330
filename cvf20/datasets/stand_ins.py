"""Stand-ins for a machine without data and without network: drawn in milliseconds, the same on every run, learnable.

Every class has its colour and its grain; sizes, label types and roughly the classes' shares are those of the real data.
"""

import zlib
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching

Made = list[tuple[str, np.ndarray, np.ndarray]]

SKY, TREE, ROAD, GRASS, WATER, BUILDING, MOUNTAIN, FOREGROUND, MISC = range(9)
SCENES = {"train": 48, "val": 16, "test": 16}
SCENE_COLOURS = "a8c4e0 3e502e 807c78 68803e 587084 947e6e 686c70 6e605c 96783c"
SCENE_GRAIN, SCENE_CONTRAST = np.array([2, 1, 0, 0, 1, 2, 1, 1, 0]), np.array([10, 26, 9, 18, 12, 10, 20, 22, 24])
OBJECTS = {"train": 44, "val": 22, "test": 22}
OBJECT_SIZES = ((213, 320), (240, 320), (320, 213), (320, 240))
OBJECT_GROUNDS = ("grass", "road", "water", "tree", "sky", "building")
STREETS = {"train": 24, "val": 8, "test": 8}
STREET_SIZES = ((224, 272), (256, 216), (240, 320))  # height, width: as in the real set they differ


def random(kind: str, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(kind.encode()), number])


@cache
def noise() -> np.ndarray:
    """(3, 512, 512) float32 of mean 0 and standard deviation 1, with a grain of 1, 3 and 12 pixels."""
    white = np.random.default_rng(0).standard_normal((3, 512, 512), dtype=np.float32)
    smooth = [ndimage.gaussian_filter(plane, s, mode="wrap") for plane, s in zip(white, (0.5, 2, 8), strict=True)]
    return np.stack([plane / plane.std() for plane in smooth])


def paint(rng, labels: np.ndarray, colours: np.ndarray, grain: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) uint8 of labels (H, W): label k gets colours[k], with noise of grain[k] and contrast[k]."""
    (y, x), (height, width) = rng.integers(0, 512 - np.array(labels.shape)), labels.shape
    planes = noise()[:, y : y + height, x : x + width]
    texture = np.choose(grain[labels], planes) * contrast[labels].astype(np.float32)
    image = colours.astype(np.float32)[labels] + (texture + 3 * planes[0])[..., None]
    return image.clip(0, 255).astype(np.uint8)


def wave(rng, length: int, wavelength: float) -> np.ndarray:
    """(length,) a smooth random line between −1 and 1."""
    x = np.arange(length) / wavelength
    return 0.6 * np.sin(x + rng.uniform(0, 7)) + 0.4 * np.sin(2.7 * x + rng.uniform(0, 7))


@cache
def scenes(split: str) -> Made:
    """Outdoor scenes of nine classes: image (224, 288, 3) uint8, classes (224, 288) uint8."""
    return [(f"{split}_{i:04d}", *scene(random(f"scene {split}", i), i % 4 == 1)) for i in range(SCENES[split])]


def scene(rng, mountains: bool, height: int = 224, width: int = 288) -> tuple[np.ndarray, np.ndarray]:
    """From far to near: sky, mountain, trees, houses, two kinds of ground, things that stand on it, a post."""
    rows, columns = np.ogrid[:height, :width]
    mask = np.full((height, width), SKY, dtype=np.uint8)
    horizon = rng.uniform(0.45, 0.65) * height
    if mountains:
        mask[rows > horizon - rng.uniform(35, 70) - 10 * wave(rng, width, 25)] = MOUNTAIN
    if rng.random() < (0.3 if mountains else 0.8):
        mask[rows > horizon - rng.uniform(20, 105) - 12 * wave(rng, width, 9)] = TREE
    if rng.random() < (0.4 if mountains else 0.85):
        for left in np.arange(rng.uniform(-60, 40), rng.uniform(180, width), 52):
            wide, tall = rng.uniform((50, 50), (90, 140))
            mask[(columns > left) & (columns < left + wide) & (rows > horizon - tall)] = BUILDING
    for x in rng.uniform(0, width, rng.poisson(2.2)):
        mask[np.hypot(columns - x, rows - horizon + rng.uniform(20, 60)) < rng.uniform(22, 48)] = TREE
    ground = rng.choice([ROAD, GRASS, WATER], 2, p=[0.62, 0.25, 0.13])
    edge = rng.uniform(0, width) + rng.uniform(-1.5, 1.5) * (rows - horizon)
    mask = np.where(rows > horizon, np.where(columns > edge, *ground), mask).astype(np.uint8)
    for _ in range(1 + rng.poisson(1.9)):
        depth = rng.uniform(0.1, 1)
        size = (24 + 36 * depth) * rng.uniform(0.6, 1.2, 2)
        y = horizon + depth * (height - horizon) - size[0]
        mask[((rows - y) / size[0]) ** 4 + ((columns - rng.uniform(0, width)) / (0.6 * size[1])) ** 4 < 1] = FOREGROUND
    if rng.random() < 0.5:
        x, y = rng.uniform(10, width - 10), rng.uniform(horizon, height)
        mask[(abs(columns - x) < 4) & (rows < y) & (rows > y - 70)] = MISC
    colours = np.array([list(bytes.fromhex(colour)) for colour in SCENE_COLOURS.split()])
    tint = rng.normal(0, 8, 3) + rng.normal(0, 10, (9, 3)) + rng.normal(0, 14)
    return paint(rng, mask, colours + tint, SCENE_GRAIN, SCENE_CONTRAST), mask


@cache
def objects(split: str, classes: tuple[str, ...]) -> Made:
    """One thing on one ground, a void seam between them: image (H, W, 3), classes (H, W) uint8; none shows a horse."""
    things = [name for name in classes if name not in (*OBJECT_GROUNDS, "horse")]
    own = np.random.default_rng(3)  # colour, grain and contrast are the class's own in every picture
    look = own.uniform(50, 205, (len(classes), 3)), own.integers(0, 3, len(classes)), own.uniform(8, 30, len(classes))
    made = []
    for i in range(OBJECTS[split]):
        rng, size = random(f"object {split}", i), OBJECT_SIZES[i % 4]
        rows, columns = np.ogrid[: size[0], : size[1]]
        centre, radius, stretch = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.2, 0.34), rng.uniform(0.7, 1.4)
        away = np.hypot((rows - centre[0]) * stretch, (columns - centre[1]) / stretch) / (radius * min(size))
        thing, ground = (classes.index(names[i % len(names)]) for names in (things, OBJECT_GROUNDS))
        mask = np.where(away < 1, thing, ground).astype(np.uint8)
        image = paint(rng, mask, look[0] + rng.normal(0, 8, 3), *look[1:])
        mask[abs(away - 1) < 0.12] = VOID
        made.append((f"{split}_{i:04d}", image, mask))
    return made


@cache
def streets(split: str) -> Made:
    """People who hide each other before a wall: image (H, W, 3) uint8, people (H, W) int32 numbered 1 … 4."""
    sizes = [STREET_SIZES[i % 3] for i in range(STREETS[split])]
    return [(f"{split}_{i:04d}", *street(random(f"street {split}", i), size)) for i, size in enumerate(sizes)]


def street(rng, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    people, count = np.zeros(size, dtype=np.int32), rng.integers(1, 5)
    places = rng.uniform(0, size[1]) + np.cumsum(rng.uniform(16, 60, count))  # neighbours, often shoulder to shoulder
    for person, foot in enumerate(np.sort(rng.uniform(0.75, 0.97, count)) * size[0], start=1):
        tall = rng.uniform(0.45, 0.6) * foot
        x, y = (columns - places[person - 1] % size[1]) / tall, (rows - foot) / tall  # 0 at the feet, −1 at the crown
        people[((x / 0.14) ** 4 + ((y + 0.43) / 0.43) ** 4 < 1) | (np.hypot(x / 0.8, y + 0.92) < 0.08)] = person
    surface = np.where(people > 0, people + 1, rows > rng.uniform(0.35, 0.5) * size[0])  # 0 wall, 1 ground
    colours = np.concatenate([rng.normal(135, 25, (2, 3)), rng.uniform(10, 230, (4, 3))])
    return paint(rng, surface, colours, np.array([2, 1, 0, 0, 0, 0]), np.array([14, 14, 6, 6, 6, 6])), people


@cache
def colony(number: int) -> Made:
    """A colony's growth in phase contrast: image (H, W) uint8, foreground (H, W) uint8 in {0, 1} of parted cells."""
    frames = enumerate(time_lapse(number, 20))
    return [(f"set_{number}_time_{time}", image, separate_touching(cells)) for time, (image, cells) in frames]


def time_lapse(number: int, frames: int, size: int = 256, spacing: float = 15.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image (H, W) uint8 of each frame, and its cells (H, W) int32.

    Cells sit on a shaken hexagonal lattice and are born from the middle outwards; each pixel belongs to the nearest
    cell. Grown neighbours touch, and a cell keeps its number over the frames.
    """
    rng = random("colony", number)
    row, column = np.mgrid[-8:9, -8:9].reshape(2, -1)
    centres = spacing * np.stack([row * 0.87, column + row % 2 / 2], 1) + rng.normal(0, 1.5, (len(row), 2))
    centres = centres[np.argsort(np.hypot(*centres.T) + rng.uniform(0, 12, len(centres)))][:120] + size / 2
    distance, cell = cKDTree(centres).query(np.indices((size, size)).reshape(2, -1).T.astype(np.float32))
    distance, cell = distance.reshape(size, size), cell.reshape(size, size)
    births = np.linspace(0, frames**2, len(centres)) ** 0.5 - 3  # in frames; the first ones are there at the start
    grown = rng.normal(0.56 * spacing, 0.2, len(births))
    movie = []
    for time in range(frames):
        radius = (3 + 1.5 * (time - births)).clip(0, grown)
        radius[births > time] = 0
        share = distance / np.maximum(radius, 1e-6)[cell]  # 0 in the middle of a cell, 1 on its rim
        cells = np.where(share < 1, cell + 1, 0).astype(np.int32)
        core = (share < 0.88).astype(np.float32)
        halo = ndimage.gaussian_filter(core, 3, truncate=2) * (1 - core)
        grey = 110 + 210 * halo - 25 * core - 20 * core * (share > 0.6) + 4 * noise()[0, time : time + size, :size]
        movie.append((grey.clip(0, 255).astype(np.uint8), cells))
    return movie
