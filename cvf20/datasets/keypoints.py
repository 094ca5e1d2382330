"""Drawn faces with 15 key points: the case study's embedded task, synthetic by design.

Nothing is downloaded and no photograph is involved. A face is a dozen soft shapes placed by a small
three-dimensional model (roll, yaw, pitch, size, position, proportions, expression), lit from one side, put in
front of a blotchy background and covered with noise. A whole batch is drawn at once from one seeded generator,
so a seed always gives the same images.
"""

import hashlib
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

SIZE = 96
POINTS = (  # left and right are the person's, as in the facial key-point task that this one imitates
    *("left_eye_center", "right_eye_center"),
    *("left_eye_inner_corner", "left_eye_outer_corner", "right_eye_inner_corner", "right_eye_outer_corner"),
    *("left_eyebrow_inner_end", "left_eyebrow_outer_end", "right_eyebrow_inner_end", "right_eyebrow_outer_end"),
    *("nose_tip", "mouth_left_corner", "mouth_right_corner", "mouth_center_top_lip", "mouth_center_bottom_lip"),
)


class Faces(Dataset):
    """`count` drawn faces: image (1, 96, 96) float32 in [-1, 1] and key points (30,) float32 in [-1, 1].

    Key points are x, y pairs in the order of POINTS; pixel p stands at (p − 48) / 48.
    `split` ("train", "val" or "test") and `seed` choose the faces; splits never share one.
    """

    name, synthetic = "keypoints", True
    splits = ("train", "val", "test")

    def __init__(self, split: str = "train", count: int = 2000, seed: int = 0):
        if split not in self.splits:
            raise ValueError(f"split is one of {', '.join(self.splits)}, not {split!r}")
        if count < 1:
            raise ValueError(f"count is a number of faces ≥ 1, not {count}")
        generator = torch.Generator().manual_seed(len(self.splits) * seed + self.splits.index(split))
        chunks = [draw_faces(min(25, count - start), generator) for start in range(0, count, 25)]  # 25 fit the cache
        self.images, self.keypoints = (torch.cat(parts) for parts in zip(*chunks, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return normalise(self.images[index]), to_unit(self.keypoints[index]).flatten(-2)

    @cached_property
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


class Canvas:
    """(N, 96, 96) grey images that soft shapes are painted on, in the coordinates of each unrolled, unscaled head.

    blotches: (N, 1, h, w) background, enlarged;  scale: (N, 1, 1) pixels per unit;  roll: (N, 1, 1) radians;
    centre: (N, 1, 2) of the head in pixels. Points are (N, 1, 2), lengths and grey values (N, 1, 1).
    """

    def __init__(self, blotches: Tensor, scale: Tensor, roll: Tensor, centre: Tensor):
        self.image = interpolate(blotches, size=(SIZE, SIZE), mode="bicubic").squeeze(1)
        self.scale = scale
        axis = torch.arange(SIZE, dtype=torch.float32)
        dx, dy = (axis[None, None, :] - centre[..., :1]) / scale, (axis[None, :, None] - centre[..., 1:]) / scale
        self.x, self.y = roll.cos() * dx + roll.sin() * dy, roll.cos() * dy - roll.sin() * dx

    def paint(self, distance: Tensor, grey: Tensor) -> None:
        """Cover what lies at a negative distance, with an edge about two pixels wide."""
        self.image.lerp_(grey.expand_as(self.image), torch.sigmoid(-2 * self.scale * distance))

    def ellipse(self, at: Tensor, radius_x: Tensor, radius_y: Tensor) -> Tensor:
        """Distance to an ellipse, exact on its border and below and above it."""
        return (torch.hypot((self.x - at[..., :1]) / radius_x, (self.y - at[..., 1:]) / radius_y) - 1) * radius_y

    def stroke(self, start: Tensor, end: Tensor, half_width: Tensor) -> Tensor:
        """Distance to a straight stroke with round ends."""
        px, py, (ux, uy) = self.x - start[..., :1], self.y - start[..., 1:], (end - start).split(1, dim=2)
        along = ((px * ux + py * uy) / (ux.square() + uy.square())).clamp(0, 1)
        return torch.hypot(px - along * ux, py - along * uy) - half_width

    def lips(self, corners: list[Tensor], middles: list[Tensor]) -> Tensor:
        """Distance to what lies between two parabolas through the corners of the mouth, one per lip's middle."""
        half = (corners[0] - corners[1])[..., :1] / 2
        arch = 1 - ((self.x - middles[0][..., :1]) / half).square()
        upper, lower = (torch.lerp(corners[0][..., 1:], middle[..., 1:], arch) for middle in middles)
        return torch.maximum(torch.maximum(upper - self.y, self.y - lower), -0.3 * arch)


def draw_faces(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 96, 96) uint8 and key points (N, 15, 2) float32 as x, y in pixels, all inside the image."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    roll, yaw, pitch = uniform(-0.45, 0.45), uniform(-0.4, 0.4), uniform(-0.25, 0.25)  # radians
    scale, centre = uniform(24, 38), torch.cat([uniform(36, 60), uniform(36, 60)], dim=2)  # a unit is half a head

    def seen(x: Tensor | float, y: Tensor | float, z: float | Tensor) -> Tensor:
        """A point of the turned head (x right, y down, z towards the viewer) as (N, 1, 2), still without roll."""
        return torch.cat([x * yaw.cos() + z * yaw.sin(), y * pitch.cos() + z * pitch.sin()], dim=2)

    eye_x, eye_y = uniform(0.27, 0.38), uniform(-0.22, -0.08)
    eye_width, eye_height = uniform(0.11, 0.17), uniform(0.03, 0.09)
    eyes = {side: [seen(side * (eye_x + k * eye_width), eye_y, 0.35) for k in (0, -1, 1)] for side in (1, -1)}
    brow_in, brow_out = uniform(0.1, 0.2), uniform(0.42, 0.56)
    brow_y, tilt = uniform(-0.42, -0.3), uniform(-0.08, 0.08)
    brows = {
        side: [seen(side * brow_in, brow_y + tilt, 0.4), seen(side * brow_out, brow_y - tilt, 0.3)] for side in (1, -1)
    }
    nose = seen(0, uniform(0.12, 0.28), uniform(0.55, 0.75))
    mouth_x, mouth_y, smile = uniform(0.18, 0.34), uniform(0.45, 0.6), uniform(-0.07, 0.07)
    corners = [seen(side * mouth_x, mouth_y - smile, 0.42) for side in (1, -1)]
    lips = [seen(0, mouth_y - uniform(0.02, 0.06), 0.42), seen(0, mouth_y + uniform(0.04, 0.2), 0.42)]

    canvas = Canvas(0.15 + 0.7 * torch.rand(count, 1, 6, 6, generator=generator), scale, roll, centre)
    skin, hair, width, height = uniform(0.35, 0.85), uniform(0.05, 0.9), uniform(0.68, 0.85), uniform(0.92, 1.05)
    canvas.paint(canvas.ellipse(seen(0, -0.15, -0.1), width * 1.1, height * uniform(0.95, 1.1)), hair)
    canvas.paint(canvas.ellipse(seen(0, 0.05, 0.1), width * 0.97, height * 0.95), skin)
    canvas.paint(canvas.stroke(seen(0, eye_y, 0.45), nose, uniform(0.04, 0.08)), skin * uniform(0.8, 0.95))
    canvas.paint(canvas.ellipse(nose + 0.02, uniform(0.09, 0.14), uniform(0.05, 0.08)), skin * uniform(0.6, 0.85))
    canvas.paint(canvas.lips(corners, lips), skin * uniform(0.4, 0.8))
    gaze = torch.cat([uniform(-0.06, 0.06), uniform(-0.02, 0.02)], dim=2)
    for side in (1, -1):
        middle = eyes[side][0]
        canvas.paint(canvas.ellipse(middle, eye_width * yaw.cos(), eye_height), (skin * 1.3).clamp(max=1))
        canvas.paint(canvas.ellipse(middle + gaze, eye_height * 0.9, eye_height * 0.9), skin * 0.2)
        canvas.paint(canvas.stroke(*brows[side], uniform(0.02, 0.05)), skin * uniform(0.2, 0.6))
    direction = uniform(0, 2 * torch.pi)
    light = uniform(0.7, 1.1) + uniform(0, 0.35) * (canvas.x * direction.cos() + canvas.y * direction.sin())
    noise = uniform(0.01, 0.05) * torch.randn(canvas.image.shape, generator=generator)
    image = (canvas.image * light + noise).clamp(0, 1)

    points = [eyes[1][0], eyes[-1][0], *eyes[1][1:], *eyes[-1][1:], *brows[1], *brows[-1], nose, *corners, *lips]
    x, y = torch.cat(points, dim=1).split(1, dim=2)
    rolled = torch.cat([roll.cos() * x - roll.sin() * y, roll.sin() * x + roll.cos() * y], dim=2)
    return (image * 255).round().byte()[:, None], centre + scale * rolled
