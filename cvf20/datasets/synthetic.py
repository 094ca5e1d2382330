"""Embedded stand-ins for a machine without data and without network: made, not photographed, the same on every run.

`scenes` are layered outdoor pictures with the nine classes of Stanford Background, in about its class shares;
`colony` is the time lapse of budding yeast that touches, seen in phase contrast, with its true instances.
"""

import zlib
from functools import cache

import numpy as np
from scipy import ndimage

SKY, TREE, ROAD, GRASS, WATER, BUILDING, MOUNTAIN, FOREGROUND, MISC = range(9)
SCENES = {"train": 48, "val": 16, "test": 16}
HEIGHT, WIDTH = 224, 288

# Mean colour (RGB), size of the texture's grain in pixels (rows, columns), and its contrast.
TEXTURES = {
    SKY: ((168, 196, 224), (60, 90), 16),
    TREE: ((62, 80, 46), (5, 5), 26),
    ROAD: ((128, 124, 120), (3, 9), 9),
    GRASS: ((104, 128, 62), (3, 2), 18),
    WATER: ((88, 112, 132), (3, 30), 15),
    BUILDING: ((148, 126, 110), (40, 30), 12),
    MOUNTAIN: ((104, 108, 112), (12, 25), 20),
    FOREGROUND: ((110, 96, 92), (9, 9), 20),
    MISC: ((120, 112, 84), (4, 4), 24),
}


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], grain: tuple[float, ...]) -> np.ndarray:
    """Normal noise on a coarse grid of one or two axes, interpolated linearly to vary over `grain` pixels; float32."""
    noise = rng.standard_normal([int(n / g) + 2 for n, g in zip(shape, grain, strict=True)], dtype=np.float32)
    for n, g in zip(shape, grain, strict=True):
        low, part = np.divmod(np.arange(n, dtype=np.float32) / np.float32(g), 1)
        part = part.reshape(-1, *[1] * (noise.ndim - 1))
        noise = noise[low.astype(int)] * (1 - part) + noise[low.astype(int) + 1] * part
        noise = noise.T  # once per axis: at the end they are back in order
    return noise


@cache
def scenes(split: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image (224, 288, 3) uint8 and mask (224, 288) uint8 of each scene of train, val or test."""
    return [
        (f"{split}_{i:04d}", *scene(np.random.default_rng([zlib.crc32(split.encode()), i]), mountains=i % 4 == 1))
        for i in range(SCENES[split])
    ]


def scene(rng: np.random.Generator, mountains: bool) -> tuple[np.ndarray, np.ndarray]:
    """One scene, painted from far to near: sky, mountain, buildings and trees on the horizon, ground, things on it."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    mask = np.full((HEIGHT, WIDTH), SKY, dtype=np.uint8)
    image = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    light = rng.normal(0, 6, 3) + rng.normal(0, 16)

    def paint(where: np.ndarray, kind: int, tint: float = 6) -> None:
        colour, grain, contrast = TEXTURES[kind]
        texture = contrast * smooth_noise(rng, where.shape, grain)[where]
        image[where] = np.array(colour) + light + rng.normal(0, tint, 3) + rng.normal(0, 12) + texture[:, None]
        mask[where] = kind

    def ridge(height: float, rough: float, grain: float) -> np.ndarray:
        return rows > horizon - height - rough * smooth_noise(rng, (WIDTH,), (grain,))

    horizon = rng.uniform(0.4, 0.64) * HEIGHT
    paint(mask == SKY, SKY)
    image += 0.25 * (rows - horizon)[..., None] * (1, 0.6, 0.2)  # paler towards the horizon
    if mountains:
        paint(ridge(rng.uniform(35, 70), 10, 50), MOUNTAIN)
    if rng.random() < (0.3 if mountains else 0.75):  # trees behind the houses
        paint(ridge(rng.uniform(20, 110), 12, 12), TREE)
    if rng.random() < (0.4 if mountains else 0.8):
        for left in np.arange(rng.uniform(-60, 40), rng.uniform(180, WIDTH), 52):
            x, width, top = left + rng.uniform(0, 15), rng.uniform(50, 95), horizon - rng.uniform(60, 160)
            paint((columns > x) & (columns < x + width) & (rows > top), BUILDING, tint=16)
            pitch, (u, v) = rng.uniform(9, 16), (columns - x, rows - top)
            windows = (u % pitch > 0.55 * pitch) & (v % (1.3 * pitch) > 0.6 * pitch) & (u > 0) & (u < width) & (v > 0)
            image[windows] *= rng.uniform(0.4, 0.8)
    for _ in range(rng.poisson(1.3)):  # crowns before them
        x, y, size = rng.uniform(0, WIDTH), horizon - rng.uniform(20, 70), rng.uniform(24, 52)
        outline = size * (1 + 0.2 * smooth_noise(rng, mask.shape, (9, 9)))
        trunk = (abs(columns - x) < 4) & (rows > y)
        paint((np.hypot(columns - x, rows - y) < outline) | trunk, TREE)
    grounds = rng.choice([ROAD, GRASS, WATER], 2, p=[0.64, 0.24, 0.12])
    paint((rows > horizon) & (columns >= 0), grounds[0])
    edge = rng.uniform(0, WIDTH) + rng.uniform(-1.5, 1.5) * (rows - horizon)
    paint((rows > horizon) & (columns + 5 * smooth_noise(rng, mask.shape, (15, 15)) > edge), grounds[1])
    for _ in range(1 + rng.poisson(1.7)):
        paint(thing(rng, rows, columns, horizon), FOREGROUND, tint=45)
    if rng.random() < 0.5:  # a post or a sign
        x, y = rng.uniform(10, WIDTH - 10), rng.uniform(horizon, HEIGHT)
        post = (abs(columns - x) < 2) & (rows < y) & (rows > y - 70)
        paint(post | ((abs(columns - x) < 9) & (abs(rows - y + 66) < 7)), MISC, tint=30)
    blurred = ndimage.gaussian_filter(image, (0.6, 0.6, 0), truncate=3) + 4 * rng.standard_normal(
        image.shape, np.float32
    )
    return np.clip(blurred, 0, 255).astype(np.uint8), mask


def thing(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, horizon: float) -> np.ndarray:
    """Outline of something that stands on the ground: a person, a car or an animal; the nearer, the larger."""
    depth = rng.uniform(0.1, 1)
    u = (columns - rng.uniform(0, WIDTH)) / (30 + 45 * depth)
    v = (rows - (horizon + depth * (HEIGHT - horizon))) / (30 + 45 * depth)  # 0 at its feet, negative above
    kind = rng.integers(3)
    if kind == 0:  # head, body
        return (np.hypot(u, v + 1.75) < 0.2) | (((u / 0.36) ** 4 + ((v + 0.78) / 0.8) ** 4) < 1)
    if kind == 1:  # wheels, body, cabin
        wheels = np.hypot(abs(u) - 0.6, v + 0.16) < 0.18
        return (
            wheels
            | ((abs(u) < 1) & (abs(v + 0.4) < 0.24))
            | ((abs(u) + 0.5 * abs(v + 0.6) < 0.7) & (abs(v + 0.8) < 0.3))
        )
    legs = (abs(abs(u) - 0.45) < 0.09) & (v < 0) & (v > -0.5)
    return legs | (np.hypot(u / 0.75, (v + 0.7) / 0.36) < 1) | (np.hypot(u - 0.75, v + 1.05) < 0.26)


@cache
def colony(
    seed: int,
    frames: int,
    size: tuple[int, int],
    founders: tuple[tuple[float, float], ...] = ((0.5, 0.5),),
    skip: int = 0,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Time lapse of budding yeast: image (H, W) float, higher is brighter, and instances (H, W) int32, 0 background.

    founders: where the first cells are, as fractions of height and width
    skip: so many frames pass before the first one that is drawn
    A cell keeps its number over the frames. Buds start at the rim of a grown cell, swell and push their neighbours.
    """
    rng = np.random.default_rng([1, seed])
    count = len(founders)
    centre = np.array(founders) * size + rng.uniform(-20, 20, (count, 2))
    radius, goal = np.full(count, 9.0), np.full(count, 10.0)  # now, and full-grown
    ellipse = rng.uniform((0, 0.03), (np.pi, 0.16), (count, 2))  # direction and flattening
    drift = 2 * smooth_noise(rng, size, (size[0] / 2, size[1] / 2))  # uneven light, the same in all frames
    movie = []
    for frame in range(skip + frames):
        radius = np.minimum(radius + rng.uniform(0.4, 1.2, len(radius)), goal)
        mothers = np.flatnonzero((radius > 0.8 * goal) & (rng.random(len(radius)) < 0.45))
        angle = rng.uniform(0, 2 * np.pi, len(mothers))
        rim = centre[mothers] + (radius[mothers, None] + 2) * np.stack([np.sin(angle), np.cos(angle)], 1)
        centre = np.concatenate([centre, rim])
        radius = np.concatenate([radius, np.full(len(mothers), 3.0)])
        goal = np.concatenate([goal, rng.normal(9.5, 1.2, len(mothers))])
        ellipse = np.concatenate([ellipse, rng.uniform((0, 0.03), (np.pi, 0.16), (len(mothers), 2))])
        centre = push_apart(centre, radius)
        if frame >= skip:
            movie.append(phase_contrast(rng, centre, radius, ellipse, drift))
    return movie


def push_apart(centre: np.ndarray, radius: np.ndarray, rounds: int = 40) -> np.ndarray:
    """Move overlapping discs until they touch, with an overlap of a few per cent as the cells press on each other."""
    wanted = 0.93 * (radius[:, None] + radius)
    np.fill_diagonal(wanted, 0)
    for _ in range(rounds):
        offset = centre[:, None] - centre
        distance = np.hypot(offset[..., 0], offset[..., 1]) + 1e-9
        overlap = np.maximum(wanted - distance, 0)
        centre = centre + 0.3 * (offset * (overlap / distance)[..., None]).sum(1)
    return centre


def phase_contrast(
    rng: np.random.Generator, centre: np.ndarray, radius: np.ndarray, ellipse: np.ndarray, background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the cells: dark body and rim, a vacuole, the bright halo that phase contrast puts around them, noise."""
    height, width = background.shape
    nearest = np.ones((height, width))  # distance to the cell's centre, 1 on its rim
    instances = np.zeros((height, width), dtype=np.int32)
    body = np.zeros((height, width))
    for number, ((y, x), r, (angle, flat)) in enumerate(zip(centre, radius, ellipse, strict=True), start=1):
        top, bottom = np.clip([y - 1.3 * r, y + 1.3 * r + 1], 0, height).astype(int)
        left, right = np.clip([x - 1.3 * r, x + 1.3 * r + 1], 0, width).astype(int)
        window = np.s_[top:bottom, left:right]
        v, u = np.mgrid[window]
        v, u = (v - y) / r, (u - x) / r
        along, across = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
        distance = np.hypot(along * (1 - flat), across * (1 + flat))
        mine = distance < nearest[window]  # where two cells overlap, each keeps the side nearer to its centre
        vacuole = np.hypot(along - 0.3 * np.cos(number), across - 0.3 * np.sin(number)) < 0.35
        rim = np.exp(-(((distance - 0.85) / 0.15) ** 2))
        nearest[window][mine] = distance[mine]
        instances[window][mine] = number
        body[window][mine] = (8 * vacuole - 8 - 12 * rim)[mine]
    core = nearest < 0.9  # a little less than the cell, so that a bright seam shows where two touch
    halo = 420 * ndimage.gaussian_filter(core.astype(float), 3.5) * ~core
    image = ndimage.gaussian_filter(background + body + halo, 0.9)
    return image + rng.normal(0, 1.5, image.shape), instances
