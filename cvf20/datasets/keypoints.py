"""Drawn faces with 15 key points: the case study's embedded task, synthetic by design.

A face is a dozen flat shapes placed by a small three-dimensional model (roll, yaw, pitch, size, position, proportions,
expression), lit from one side, before a blotchy background and under noise. One seed always gives the same images.
"""

import hashlib
import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

SIZE = 96
POINTS = (  # left and right are the person's, as in the facial key-point task that this one imitates
    *("left_eye_center", "right_eye_center"),
    *("left_eye_inner_corner", "left_eye_outer_corner", "right_eye_inner_corner", "right_eye_outer_corner"),
    *("left_eyebrow_inner_end", "left_eyebrow_outer_end", "right_eyebrow_inner_end", "right_eyebrow_outer_end"),
    *("nose_tip", "mouth_left_corner", "mouth_right_corner", "mouth_center_top_lip", "mouth_center_bottom_lip"),
)
CIRCLE = np.array([(math.cos(k * math.pi / 16), math.sin(k * math.pi / 16), 0) for k in range(32)])


class Faces(Dataset):
    """`count` drawn faces: image (1, 96, 96) float32 in [-1, 1]; x, y of the POINTS (30,) float32, as `to_unit` gives.

    split, seed: choose the faces; splits never share one
    """

    name, synthetic, sample = "keypoints", True, False
    splits = ("train", "val", "test")

    def __init__(self, split: str = "train", count: int = 2000, seed: int = 0):
        if split not in self.splits:
            raise ValueError(f"split is one of {', '.join(self.splits)}, not {split!r}")
        rng = np.random.default_rng([self.splits.index(split), seed])
        images, points = zip(*(draw_face(rng) for _ in range(count)), strict=True)
        self.images, self.keypoints = torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(points))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return normalise(self.images[index]), to_unit(self.keypoints[index]).flatten(-2)

    @property
    def sha256(self) -> str:
        """Digest of images and key points, so that a stored result names the data it was made from."""
        return hashlib.sha256(self.images.numpy().tobytes() + self.keypoints.numpy().tobytes()).hexdigest()


def normalise(images: Tensor) -> Tensor:
    """uint8 grey values to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


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

    def seen(points) -> np.ndarray:
        """Pixel coordinates (n, 2) of points (n, 3) of the head: x right, y down, z towards the viewer."""
        return centre + scale * (np.asarray(points) @ turn.T)

    canvas = Image.fromarray(rng.integers(38, 217, (6, 6), dtype=np.uint8)).resize((2 * SIZE, 2 * SIZE))
    pencil = ImageDraw.Draw(canvas)

    def draw(points, grey: float, width: float | None = None) -> None:
        """A line of that width, or a filled outline."""
        corners, grey = [tuple(point) for point in (2 * seen(points) + 0.5).round().tolist()], int(min(grey, 255))
        pencil.line(corners, grey, max(2, round(2 * scale * width))) if width else pencil.polygon(corners, grey)

    eye_x, eye_y, eye_width, eye_height = u(0.27, 0.38), u(-0.22, -0.08), u(0.11, 0.17), u(0.03, 0.09)
    eyes = {s: np.array([(s * (eye_x + k * eye_width), eye_y, 0.35) for k in (0, -1, 1)]) for s in (1, -1)}
    brow_in, brow_out, brow_y, tilt = u(0.1, 0.2), u(0.42, 0.56), u(-0.42, -0.3), u(-0.08, 0.08)
    brows = {s: [(s * brow_in, brow_y + tilt, 0.4), (s * brow_out, brow_y - tilt, 0.3)] for s in (1, -1)}
    nose = (0, u(0.12, 0.28), u(0.55, 0.75))
    mouth_x, mouth_y, smile = u(0.18, 0.34), u(0.45, 0.6), u(-0.07, 0.07)
    corners = [(s * mouth_x, mouth_y - smile, 0.42) for s in (1, -1)]
    lips = [(0, mouth_y - u(0.02, 0.06), 0.42), (0, mouth_y + u(0.04, 0.2), 0.42)]

    skin, hair, width, height = u(90, 215), u(12, 230), u(0.68, 0.85), u(0.92, 1.05)
    draw((0, -0.15, -0.1) + CIRCLE * (1.1 * width, height * u(0.95, 1.1), 0), hair)
    draw((0, 0.05, 0.1) + CIRCLE * (0.97 * width, 0.95 * height, 0), skin)
    draw([(0, eye_y, 0.45), nose], width=u(0.08, 0.16), grey=skin * u(0.8, 0.95))
    draw(nose + CIRCLE * (u(0.09, 0.14), u(0.05, 0.08), 0), skin * u(0.6, 0.85))
    draw([corners[0], lips[0], corners[1], lips[1]], skin * u(0.4, 0.8))
    gaze = (u(-0.06, 0.06), u(-0.02, 0.02), 0)
    for side in (1, -1):
        draw(eyes[side][0] + CIRCLE * (eye_width, eye_height, 0), 1.3 * skin)
        draw(eyes[side][0] + gaze + 0.9 * eye_height * CIRCLE, 0.2 * skin)
        draw(brows[side], width=u(0.04, 0.1), grey=skin * u(0.2, 0.6))
    towards, (row, column) = u(0, 2 * math.pi), (np.indices((SIZE, SIZE)) - centre[::-1, None, None]) / scale
    light = u(0.7, 1.1) + u(0, 0.35) * (column * math.cos(towards) + row * math.sin(towards))
    image = np.asarray(canvas.reduce(2)) * light + u(3, 13) * rng.standard_normal((SIZE, SIZE))
    points = [eyes[1][:1], eyes[-1][:1], eyes[1][1:], eyes[-1][1:], brows[1], brows[-1], [nose], corners, lips]
    return image.round().clip(0, 255).astype(np.uint8), seen(np.concatenate(points)).astype(np.float32)
