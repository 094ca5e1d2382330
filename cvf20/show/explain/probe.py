"""Receptive fields measured by a gradient, which knows nothing of the layers' geometry."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from cvf20.models.layers import IndexUnpool

# Left out: normalisation, whose statistics see the whole map, and what flattens out and may leave no gradient
LEFT_OUT = set(
    "batch_norm instance_norm group_norm layer_norm softmax log_softmax sigmoid logsigmoid hardsigmoid".split()
)
LEFT_OUT |= set("tanh hardtanh relu6 hardswish clamp gelu silu mish softplus elu selu celu logit".split())


def gradient_extent(
    model: nn.Module, input_shape: Sequence[int], position: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """First and last input position per axis where one output position's gradient is not zero.

    input_shape: (C, *S);  position: of the output, its middle by default

    The gradient is taken on a copy that shows which pixels are connected and nothing else: every weight is positive,
    normalisations and saturating activations are left out, a maximum is replaced by a mean, so that the gradient
    reaches all pixels of its window, and unpooling by copying a value to its window.
    """
    probe = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
    for module in probe.modules():
        if isinstance(module, _ConvNd):
            module.padding_mode = "zeros"  # reflected pixels would be seen twice
        if isinstance(module, IndexUnpool):
            module.register_forward_hook(lambda module, args, out: F.interpolate(args[0], size=out.shape[2:]))
    for parameter in probe.parameters():
        parameter.fill_(1 / parameter.shape[1] if parameter.dim() > 1 else 0.1 if parameter.numel() == 1 else 0)
    x = torch.ones(1, *input_shape, dtype=torch.float64, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), Connectivity():
        out = tree_leaves(probe(x))[0]
    if position is None:
        position = [size // 2 for size in out.shape[2:]]
    seen = out[(0, slice(None), *position)] if out.dim() > 2 else out
    (gradient,) = torch.autograd.grad(seen.sum(), x)
    places = (gradient[0] != 0).any(dim=0).nonzero()
    return [(int(a), int(b)) for a, b in zip(places.amin(0), places.amax(0), strict=True)]


class Connectivity(TorchFunctionMode):
    """While active, normalisations do nothing and pools take means, in modules and in functional calls alike."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", "").rstrip("_"), kwargs or {}
        if name in LEFT_OUT:
            return args[0]
        if name.startswith("max_unpool"):
            return F.interpolate(args[0], size=func(*args, **kwargs).shape[2:])
        out = func(*args, **kwargs)
        return self._means(out, *args, **kwargs) if name.startswith("max_pool") else out

    @staticmethod
    def _means(out, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if dilation not in (1, (1,) * (x.dim() - 2)):
            raise ValueError(f"dilation={dilation} of a max-pool: the gradient check has no mean over gaps")
        average = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.dim() - 3]
        means = average(x, kernel_size, stride, padding, ceil_mode)
        return (means, out[1]) if isinstance(out, tuple) else means
