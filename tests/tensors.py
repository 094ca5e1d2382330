"""Labels, logits and masks that the tests of labels, losses, metrics and instances share."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from cvf20.labels import VOID
from cvf20.losses import watershed_targets

seeds = st.integers(0, 2**31)
quick = settings(max_examples=40, deadline=None)


def draw_labels(seed: int, classes=2, void=0.2, shape=(2, 7, 8), block=1) -> torch.Tensor:
    """int64 labels (N, H, W) in squares of `block` pixels' side, single pixels of them void."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, shape, generator=draw)
    if block > 1:
        labels = labels[:, ::block, ::block].repeat_interleave(block, 1).repeat_interleave(block, 2)
        labels = labels[:, : shape[1], : shape[2]]
    return labels.masked_fill(torch.rand(shape, generator=draw) < void, VOID)


def draw_case(
    seed: int, channels=1, void=0.2, shape=(2, 7, 8), block=1, scale=2.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """float64 logits (N, K, H, W), none near 0, that wait for their gradient, and a target (N, H, W)."""
    draw = torch.Generator().manual_seed(seed + 1)
    logits = scale * torch.randn(shape[0], channels, *shape[1:], dtype=torch.float64, generator=draw)
    return (logits + 0.1 * logits.sign()).requires_grad_(), draw_labels(seed, max(channels, 2), void, shape, block)


def draw_pair(seed: int, classes=2, void=0.2, shape=(3, 6, 7), block=1, wrong=0.4) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and target (N, H, W); wrong: the share of the predicted pixels that is drawn anew."""
    draw, target = torch.Generator().manual_seed(seed + 1), draw_labels(seed, classes, 0, shape, block)
    guess = torch.randint(classes, shape, generator=draw)
    prediction = torch.where(torch.rand(shape, generator=draw) < wrong, guess, target)
    return prediction, target.masked_fill(torch.rand(shape, generator=draw) < void, VOID)


def gradient(loss, logits: torch.Tensor, *arguments) -> torch.Tensor:
    return torch.autograd.grad(loss(logits, *arguments), logits)[0]


def masks(*rows: str) -> torch.Tensor:
    """(1, H, W) bool from rows of # and ."""
    return torch.tensor([[[pixel == "#" for pixel in row] for row in rows]])


def ellipse(row, column, height, width=None, shape=(64, 64)) -> np.ndarray:
    """(H, W) bool; height and width are radii, of a disc where only one is given."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - row) / height) ** 2 + ((columns - column) / (width or height)) ** 2 <= 1


def to_nearest(where) -> np.ndarray:
    """(H, W) distance from every pixel to the nearest of those (H, W) bool, by brute force; inf where there is none."""
    there, here = np.argwhere(np.asarray(where)), np.moveaxis(np.indices(where.shape), 0, -1)
    return np.linalg.norm(here[:, :, None] - there, axis=-1).min(-1, initial=np.inf)


def perfect_output(target: torch.Tensor, edges, relative=True) -> torch.Tensor:
    """(N, 1 + bins + 2, H, W): what a perfect WatershedNet would say of instance labels."""
    true = watershed_targets(target, edges, relative)
    energy = torch.nn.functional.one_hot(true.energy * (target != VOID), len(edges) + 2).movedim(-1, 1)
    return torch.cat([80.0 * (true.foreground[:, None] == 1) - 40, 80.0 * energy, 3 * true.direction], 1)
