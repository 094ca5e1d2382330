"""Averaged predictions: laws that hold for any network, and agreement with the training loop's own flips."""

import pytest
import torch
from tiny import Patches, tiny_unet
from torch import nn
from torch.utils.data import DataLoader

from cvf20.models import AveragedPredictions
from cvf20.training.loop import make_accelerator, validate


def test_a_network_that_sees_single_pixels_gains_nothing():
    pointwise, x = nn.Conv2d(3, 4, 1), torch.rand(2, 3, 12, 17)
    constant = torch.full_like(x, 0.3)  # resizing leaves it as it is
    torch.testing.assert_close(AveragedPredictions(pointwise)(x), pointwise(x))
    torch.testing.assert_close(AveragedPredictions(pointwise, scales=(0.5, 1, 2.3))(constant), pointwise(constant))


def test_it_is_the_mean_over_the_scales_and_mirrored_with_the_image():
    model, x = tiny_unet().eval(), torch.rand(1, 3, 16, 24)
    single = [AveragedPredictions(model, (scale,), flips=False)(x) for scale in (0.5, 1.0, 2.0)]
    assert single[1].equal(model(x)) and not single[0].allclose(single[1])
    torch.testing.assert_close(AveragedPredictions(model, (0.5, 1.0, 2.0), flips=False)(x), sum(single) / 3)
    averaged = AveragedPredictions(model, (0.5, 1.0, 1.5))
    torch.testing.assert_close(averaged(x.flip(-1)), averaged(x).flip(-1), rtol=1e-4, atol=1e-5)


def test_flips_are_those_of_validate():
    model, loader, accelerator = tiny_unet(), DataLoader(Patches(4, void=True), 2), make_accelerator("fp32")
    own = validate(AveragedPredictions(model), loader, accelerator=accelerator)
    assert own == pytest.approx(validate(model, loader, accelerator=accelerator, flips=True), abs=1e-6)
