"""`explainit`: what a network does to an image, layer by layer, and how much of the image each output sees."""

from collections.abc import Sequence
from functools import cached_property

from matplotlib.figure import Figure
from torch import nn

from cvf20.show.explain.drawing import draw
from cvf20.show.explain.trace import Table, kept_bytes, on_a_copy, times, trace
from cvf20.show.explain.windows import gradient_extent


class Explanation:
    """Table, cost, receptive field and drawing of `model` for one image of shape (C, *S); the model is left as it is.

    table, layers: what the network's own forward calls, and the modules without children
    multiply_adds: of the convolutions and matrix products, per image
    receptive_field: pixels per axis that an output sees of an unbounded image at most, by the layers' geometry; what
    sees all of any image sees the given one. () where it depends on the image's values
    """

    def __init__(self, model: nn.Module, input_shape: Sequence[int]):
        self._model, self._shape = model, tuple(input_shape)
        *rows, self._whole = on_a_copy(model, input_shape, trace)
        inside = tuple(f"{row.name}." for row in rows)
        self.table = Table(row for row in rows if not row.name.startswith(inside))
        self.layers = Table(row for row in rows if row.is_layer)
        self.parameters, self.multiply_adds = self._whole.parameters, self._whole.multiply_adds
        self.receptive_field = self._whole.receptive_field

    @cached_property
    def memory(self) -> int:
        """Bytes that a float32 training step keeps per image until its backward pass, without weights and dropout."""
        return on_a_copy(self._model, self._shape, kept_bytes)

    @cached_property
    def measured(self) -> tuple[int, ...]:
        """The receptive field by the gradient of one output; another where a network moves positions, as in a mirror."""
        sizes = []
        for axis, sight in enumerate(self._whole.sights):
            shape = list(self._shape)
            if not sight.is_all:  # take an image so large that no border cuts the window
                shape[axis + 1] *= -(-2 * sight.size // shape[axis + 1])
                sight = on_a_copy(self._model, shape, trace)[-1].sights[axis]
            sizes.append(gradient_extent(self._model, shape, axis, sight.position))
        return tuple(sizes)

    @property
    def title(self) -> str:
        sees = f", receptive field {times(self.receptive_field)}" if self.receptive_field else ""
        return f"{type(self._model).__name__}: {self.parameters:,} parameters{sees}"

    @property
    def figure(self) -> Figure:
        return draw(self.table, self._shape, self.title)

    @property
    def summary(self) -> str:
        text = f"**{self.title}**; {self.multiply_adds:,} multiply-adds"
        if not self.receptive_field:
            return text + ". Its memory and receptive field depend on what the image shows."
        agree = "they agree" if self.measured == self.receptive_field else "they DISAGREE"
        text += f" and {self.memory / 2**20:.1f} MiB of activations for one image in training. "
        return text + f"The gradient of an output covers {times(self.measured)}: {agree}."

    def markdown(self) -> str:
        return f"{self.summary}\n\n{self.table.markdown()}"

    _repr_markdown_ = markdown


explainit = Explanation  # the exercise's word
