"""The network of the deep watershed: any segmentation network, read as three heads."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvf20.models.spec import Recorded


class WatershedOutput(NamedTuple):
    """The three heads of an output (N, 1 + bins + 2, H, W)."""

    foreground: Tensor  # (N, 1, H, W) logits of "belongs to some instance"
    energy: Tensor  # (N, bins, H, W) logits of the energy bins, 0 background, bins − 1 innermost
    direction: Tensor  # (N, 2, H, W) (y, x), of any length, away from the nearest boundary


class WatershedNet(Recorded, nn.Module):
    """Images (N, C, H, W) → foreground logits, energy-bin logits and a direction field in one (N, 1 + bins + 2, H, W).

    After Bai and Urtasun 2017, whose network for directions precedes one for energies: here one body learns both.
    body: called with the number of output channels, gives the network, e.g. partial(UNet, 4, 3, fmaps=32)
    bins: of the energy, background among them; two more than the loss has edges
    """

    def __init__(self, body: Callable[[int], nn.Module], bins: int = 6):
        super().__init__()
        self.body = body(1 + bins + 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


def split_output(output: Tensor) -> WatershedOutput:
    return WatershedOutput(*output.split([1, output.shape[1] - 3, 2], dim=1))


def foreground_probability(output: Tensor) -> Tensor:
    """(N, H, W) in 0 … 1."""
    return split_output(output).foreground[:, 0].float().sigmoid()


def inner_energy(output: Tensor) -> Tensor:
    """(N, H, W) expected energy bin, scaled to 0 (background) … 1 (the innermost bin)."""
    probability = split_output(output).energy.float().softmax(1)
    levels = torch.linspace(0, 1, probability.shape[1], device=output.device)
    return torch.einsum("nkhw,k->nhw", probability, levels)
