"""Drawn faces with 15 key points, the same for the same seed: the case study's task, synthetic by design."""

import math
from hashlib import sha256

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import TensorDataset

SIZE = 96
CIRCLE = np.array([(math.cos(k * math.pi / 16), math.sin(k * math.pi / 16), 0) for k in range(32)])


class Faces(TensorDataset):
    """`count` drawn faces: image (1, 96, 96) float32 in [-1, 1]; x, y of the points (30,) float32, as `to_unit` gives.

    Points, the person's left before the right: eye centres; inner and outer corner of each eye; inner and outer end of
    each brow; tip of the nose; corners of the mouth; middle of the upper and of the lower lip.
    split, seed: choose the faces; splits never share one. `images` and `keypoints` hold grey values and pixels
    """

    name, synthetic, sample = "keypoints", True, False
    splits = ("train", "val", "test")

    def __init__(self, split: str = "train", count: int = 2000, seed: int = 0):
        rng = np.random.default_rng([self.splits.index(split), seed])
        images, points = zip(*(draw_face(rng) for _ in range(count)), strict=True)
        self.images, self.keypoints = torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(points))
        super().__init__(self.images.float() / 127.5 - 1, to_unit(self.keypoints).flatten(1))

    @property
    def sha256(self) -> str:
        return sha256(self.images.numpy().tobytes() + self.keypoints.numpy().tobytes()).hexdigest()


def to_unit(pixels: Tensor) -> Tensor:
    """Pixel coordinates to [-1, 1] over the image."""
    return (pixels - SIZE / 2) / (SIZE / 2)


def to_pixels(unit: Tensor) -> Tensor:
    """Inverse of `to_unit`."""
    return unit * (SIZE / 2) + SIZE / 2


def draw_face(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image (96, 96) uint8 and key points (15, 2) float32 as x, y in pixels, all inside the image."""
    u = rng.uniform
    roll, yaw, pitch = u(-0.45, 0.45), u(-0.4, 0.4), u(-0.25, 0.25)  # radians
    scale, centre = u(24, 38), u(36, 60, 2)  # pixels; a unit is half a head
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, math.cos(pitch), math.sin(pitch)]])
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]]) @ turn
    canvas = Image.fromarray(rng.integers(38, 217, (6, 6), dtype=np.uint8)).resize((2 * SIZE, 2 * SIZE))
    pencil = ImageDraw.Draw(canvas)

    def seen(points) -> np.ndarray:
        """Pixel coordinates (n, 2) of points (n, 3) of the head: x right, y down, z towards the viewer."""
        return centre + scale * (np.asarray(points) @ turn.T)

    def draw(points, grey: float, width: float | None = None) -> None:
        """A line of that width, or a filled outline."""
        corners, grey = [tuple(point) for point in (2 * seen(points) + 0.5).round().tolist()], int(min(grey, 255))
        pencil.line(corners, grey, max(2, round(2 * scale * width))) if width else pencil.polygon(corners, grey)

    skin, width, height = u(90, 215), u(0.68, 0.85), u(0.92, 1.05)
    draw((0, -0.15, -0.1) + CIRCLE * (1.1 * width, 1.02 * height, 0), u(12, 230))  # hair
    draw((0, 0.05, 0.1) + CIRCLE * (0.97 * width, 0.95 * height, 0), skin)

    eye_x, eye_y, eye_width, eye_height = u(0.27, 0.38), u(-0.22, -0.08), u(0.11, 0.17), u(0.03, 0.09)
    brow_in, brow_out, brow_y, tilt = u(0.1, 0.2), u(0.42, 0.56), u(-0.42, -0.3), u(-0.08, 0.08)
    eyes, brows = [], []
    for side in (1, -1):  # the person's left is at the viewer's right
        eyes.append(np.array([(side * (eye_x + k * eye_width), eye_y, 0.35) for k in (0, -1, 1)]))
        brows.append([(side * brow_in, brow_y + tilt, 0.4), (side * brow_out, brow_y - tilt, 0.3)])
        draw(eyes[-1][0] + CIRCLE * (eye_width, eye_height, 0), 1.3 * skin)
        draw(eyes[-1][0] + 0.9 * eye_height * CIRCLE, 0.2 * skin)
        draw(brows[-1], skin * u(0.2, 0.6), width=u(0.04, 0.1))

    nose, mouth_x, mouth_y, smile = (0, u(0.12, 0.28), u(0.55, 0.75)), u(0.18, 0.34), u(0.45, 0.6), u(-0.07, 0.07)
    corners = [(side * mouth_x, mouth_y - smile, 0.42) for side in (1, -1)]
    lips = [(0, mouth_y - u(0.02, 0.06), 0.42), (0, mouth_y + u(0.04, 0.2), 0.42)]
    draw(nose + CIRCLE * (u(0.09, 0.14), u(0.05, 0.08), 0), skin * u(0.6, 0.85))
    draw([corners[0], lips[0], corners[1], lips[1]], skin * u(0.4, 0.8))

    image = u(0.7, 1.1) * np.asarray(canvas.reduce(2)) + u(3, 13) * rng.standard_normal((SIZE, SIZE))
    points = np.concatenate([eyes[0][:1], eyes[1][:1], eyes[0][1:], eyes[1][1:], *brows, [nose], corners, lips])
    return image.round().clip(0, 255).astype(np.uint8), seen(points).astype(np.float32)
