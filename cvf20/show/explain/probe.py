"""Receptive fields measured by a gradient, which knows nothing of the layers' geometry."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from cvf20.models.layers import IndexUnpool
from cvf20.show.explain.trace import plain_copy

# Left out: normalisation, whose statistics see the whole map, and what flattens out and may leave no gradient
LEFT_OUT = [
    "batch_norm",
    "instance_norm",
    "group_norm",
    "layer_norm",
    "softmax",
    "log_softmax",
    "sigmoid",
    "logsigmoid",
]
LEFT_OUT += "hardsigmoid tanh hardtanh relu6 hardswish clamp gelu silu mish softplus elu selu celu logit".split()


def gradient_extent(model: nn.Module, input_shape: Sequence[int], position: Sequence[int]) -> list[tuple[int, int]]:
    """First and last input position per axis where the gradient of the output at `position` is not zero.

    It is taken on a copy that shows which pixels are connected and nothing else: every weight is positive, a maximum
    becomes a sum, unpooling copies, normalisations and saturating activations are left out.
    """
    probe = plain_copy(model, "cpu").double().requires_grad_(False)
    for module in probe.modules():
        if isinstance(module, IndexUnpool):
            module.register_forward_hook(lambda module, args, out: F.interpolate(args[0], size=out.shape[2:]))
    for parameter in probe.parameters():
        parameter.fill_(1 / parameter.shape[1] if parameter.dim() > 1 else 0.1 if parameter.numel() == 1 else 0)
    x = torch.ones(1, *input_shape, dtype=torch.float64, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), Connectivity():
        out = tree_leaves(probe(x))[0]
    seen = out[(0, slice(None), *position)] if out.dim() > 2 else out
    (gradient,) = torch.autograd.grad(seen.sum(), x)
    places = (gradient[0] != 0).any(dim=0).nonzero()
    return [(int(a), int(b)) for a, b in zip(places.amin(0), places.amax(0), strict=True)]


class Connectivity(TorchFunctionMode):
    """While active, normalisations do nothing and pools take sums, in modules and in functional calls alike."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", "").rstrip("_"), kwargs or {}
        if name in LEFT_OUT:
            return args[0]
        out = func(*args, **kwargs)
        if name.startswith("max_unpool"):
            return F.interpolate(args[0], size=out.shape[2:])
        return self._sums(out, *args, **kwargs) if name.startswith("max_pool") else out

    @staticmethod
    def _sums(out, x, kernel_size, stride=None, padding=0, dilation=1, *rest, **more):
        pooled, axes = out[0] if isinstance(out, tuple) else out, x.dim() - 2
        kernel = (kernel_size,) * axes if isinstance(kernel_size, int) else tuple(kernel_size)
        conv, wide = (F.conv1d, F.conv2d, F.conv3d)[axes - 1], F.pad(x.flatten(0, 1)[:, None], [0, 64] * axes)
        sums = conv(wide, x.new_ones(1, 1, *kernel), None, stride or kernel, padding, dilation)
        sums = sums[(..., *map(slice, pooled.shape[2:]))].reshape(pooled.shape)
        return (sums, out[1]) if isinstance(out, tuple) else sums
