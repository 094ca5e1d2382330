"""`explainit`: what a network does to an image, layer by layer, and how much of the image each output sees."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from cvf20.show.explain.drawing import draw
from cvf20.show.explain.trace import Table, on_a_copy, times, trace
from cvf20.show.explain.windows import gradient_extent


class Explanation:
    """What `explainit` found; a notebook shows it as its summary and table.

    table, layers: what the network's own forward calls, and the modules without children
    multiply_adds, memory: per image; memory in bytes, of what is kept for the backward pass
    receptive_field: input pixels per axis, of the output position that sees most of this image; () where it cannot be told
    position, window: such a position, and the input positions it sees, per axis first and last; measured: by the gradient
    """

    def __init__(self, model: nn.Module, input_shape: Sequence[int]):
        whole, *calls = on_a_copy(model, input_shape, trace)
        self.table, self.layers = Table(c for c in calls if c.depth == 1), Table(c for c in calls if c.is_layer)
        self.parameters, self.multiply_adds = sum(p.numel() for p in model.parameters()), whole.multiply_adds
        self.memory, self.receptive_field = memory_of(model, input_shape), whole.receptive_field
        self.position, self.window = whole.widest
        try:
            self.measured = gradient_extent(model, input_shape, self.position)
        except RuntimeError:  # no gradient, as from a detector
            self.receptive_field, self.window, self.measured = (), [], []
        sees = f", receptive field {times(self.receptive_field)}" if self.measured else ""
        self.title = f"{type(model).__name__}: {self.parameters:,} parameters{sees}"
        self.figure = draw(self.table, tuple(input_shape), self.title)

    @property
    def summary(self) -> str:
        costs = f"{self.multiply_adds:,} multiply-adds and {self.memory / 2**20:.1f} MiB of activations"
        text = f"**{self.title}**; {costs} for one image in training. "
        if not self.measured:
            return text + "Its receptive field cannot be told: no gradient runs from its output to the image."
        seen, measured = (" × ".join(f"{a}–{b}" for a, b in spans) for spans in (self.window, self.measured))
        agree = "agree" if self.window == self.measured else "DISAGREE"
        return text + f"The output at {self.position} sees {seen}; its gradient covers {measured}: they {agree}."

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
