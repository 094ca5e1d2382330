"""`explainit`: what a network does to an image, layer by layer, and how much of the image each output sees."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from cvf20.show.explain.drawing import draw
from cvf20.show.explain.trace import Table, on_a_copy, times, trace
from cvf20.show.explain.windows import gradient_extent


class Explanation:
    """What `explainit` found, see there; a notebook shows it as its summary and table.

    table, layers:   what the network's own forward calls, and the modules without children
    multiply_adds, memory: per image; memory in bytes, of what is kept for the backward pass
    receptive_field: input pixels per axis, of the output position that sees most of this image; () where it cannot be told
    position:        such an output position
    window:          input positions it sees, per axis, first and last: from the layers; measured: from the gradient
    figure:          a drawing
    """

    def __init__(self, model: nn.Module, input_shape: Sequence[int]):
        whole, *calls = on_a_copy(model, input_shape, trace)
        self.model = type(model).__name__
        self.table, self.layers = Table(c for c in calls if c.depth == 1), Table(c for c in calls if c.is_layer)
        self.parameters = sum(p.numel() for p in model.parameters())
        self.multiply_adds, self.memory = whole.multiply_adds, memory_of(model, input_shape)
        self.receptive_field, self.position, self.window, self.measured = whole.receptive_field, (), [], []
        for first, last, _ in whole.windows:
            nearest = np.abs(np.arange(len(first)) - len(first) // 2)  # to the middle
            self.position += (int(np.lexsort((nearest, first - last))[0]),)
            self.window.append((int(first[self.position[-1]]), int(last[self.position[-1]])))
        try:
            self.measured = gradient_extent(model, input_shape, self.position)
        except RuntimeError:  # no gradient, as from a detector
            self.receptive_field, self.window = (), []
        sees = f", receptive field {times(self.receptive_field)}" if self.measured else ""
        self.figure = draw(self.table, tuple(input_shape), f"{self.model}: {self.parameters:,} parameters{sees}")

    @property
    def summary(self) -> str:
        text = (
            f"**{self.model}**: {self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds and "
            f"{self.memory / 2**20:.1f} MiB of activations for one image in training. "
        )
        if not self.receptive_field:
            return text + "Its receptive field cannot be told: no gradient runs from its output to the image."
        seen, measured = (" × ".join(f"{a}–{b}" for a, b in spans) for spans in (self.window, self.measured))
        return text + (
            f"Receptive field {times(self.receptive_field)}; of this image the output at {self.position} sees {seen}; "
            f"its gradient covers {measured}: they {'agree' if self.window == self.measured else 'DISAGREE'}."
        )

    def markdown(self) -> str:
        return f"{self.summary}\n\n{self.table.markdown()}"

    _repr_markdown_ = markdown


def explainit(model: nn.Module, input_shape: Sequence[int]) -> Explanation:
    """Table, cost, receptive field and drawing of `model` for one image of shape (C, *S); the model is left as it is.

    The receptive field follows from the layers' geometry and is checked against the gradient of one output position;
    the window both ways is in the result. They disagree where a network moves positions, as mirroring does.
    """
    return Explanation(model, input_shape)


def receptive_field(layers: nn.Module | Sequence[nn.Module], input_shape: Sequence[int] = ()) -> tuple[int, ...]:
    """Input positions per axis that an output position can depend on, at most: (9, 9) for two 5×5 convolutions in order.

    input_shape: (C, *S) of the image, of which no more than all can be seen; () stands for a side of 1,024
    """
    model = layers if isinstance(layers, nn.Module) else nn.Sequential(*layers)
    if not input_shape:
        first = next((m for m in model.modules() if isinstance(m, _ConvNd)), None)
        if first is None:
            raise ValueError("receptive_field: no convolution to take the channels from; give input_shape=(C, *S)")
        input_shape = (first.in_channels, *[1024] * (first.weight.dim() - 2))
    return on_a_copy(model, input_shape, trace)[0].receptive_field


def multiply_adds_of(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and matrix products for one image of shape (C, *S)."""
    return on_a_copy(model, input_shape, trace)[0].multiply_adds


def memory_of(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Bytes per image (C, *S) that a float32 training step keeps until its backward pass, without weights and dropout."""

    def run(twin: nn.Module, x: Tensor) -> int:
        kept: dict[int, Tensor] = {}  # several operators may keep one map: it is counted once
        pack = lambda tensor: kept.setdefault(tensor.untyped_storage()._cdata, tensor)  # noqa: E731
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = twin(x)  # a name holds it, and with it what was kept
        for tensor in (*twin.parameters(), *twin.buffers()):
            kept.pop(tensor.untyped_storage()._cdata, None)
        del out
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())

    return on_a_copy(model, input_shape, run)
