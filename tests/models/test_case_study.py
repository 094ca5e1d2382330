"""The case study's models have the printed sizes, and differ in what they know of positions."""

import pytest
import torch
from torch import nn

from cvf20.models.case_study import CASE_STUDY, BottleneckFlattenNet, FlattenNet, GlobalPoolingNet, convolutional_body


@pytest.mark.parametrize("build", CASE_STUDY)
def test_sizes_are_those_of_the_exercise(build):
    model, printed = build(), {FlattenNet: 2_750_819, BottleneckFlattenNet: 430_451}
    assert sum(p.numel() for p in model.parameters()) == printed.get(build) or build not in printed
    assert model(torch.randn(2, 1, 96, 96)).shape == (2, 30)


def test_global_pooling_forgets_where_features_are():
    """Rolling the last map leaves the pooled output unchanged and changes the flattened one."""
    feature_map = torch.randn(1, 128, 9, 9)
    body = len(convolutional_body())
    pooled, flat = (nn.Sequential(*list(build())[body:]) for build in (GlobalPoolingNet, FlattenNet))
    rolled = feature_map.roll((2, 3), dims=(2, 3))
    assert torch.allclose(pooled(feature_map), pooled(rolled), atol=1e-5)
    assert not torch.allclose(flat(feature_map), flat(rolled), atol=1e-2)
