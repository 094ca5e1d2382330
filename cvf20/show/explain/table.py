"""The tables of `explainit`: what every block, and every layer, does to the map and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from cvf20.show.explain.trace import Call


@dataclass
class Row:
    """One block or layer, with the normalisation and activation that follow it."""

    name: str
    kind: str
    inputs: list[tuple[int, ...]]  # (C, *S) of each tensor that comes in
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...]  # input pixels per axis
    jump: tuple  # input pixels between neighbouring outputs, per axis; a Fraction
    resizes: bool  # a single layer that changes the map's size: a pool, an up-scaling


class Table(list[Row]):
    """Rows in the order of the forward pass."""

    def markdown(self) -> str:
        lines = [
            "| name | what it is | input | output | parameters | multiply-adds | receptive field | stride |",
            "|---|---|---|---|--:|--:|--:|--:|",
        ]
        for row in self:
            cells = [
                f"`{row.name}`",
                row.kind,
                " + ".join(map(times, row.inputs)),
                times(row.output),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                times(row.receptive_field),
                times(row.jump) if any(row.jump) else "–",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    _repr_markdown_ = markdown


def times(sizes: Sequence) -> str:
    """(64, 7, 7) as 64×7×7."""
    return "×".join(map(str, sizes))


def make_table(calls: list[tuple[int, Call]]) -> tuple[Table, dict[int, int]]:
    """Table of some calls of a trace, given with their indices, and the row that each index went into.

    What keeps sizes, costs no multiply-adds and sees nothing new (normalisation, activation, dropout) goes into the
    row before it; what passes its input on untouched is left out.
    """
    table, row_of = Table(), {}
    for index, call in calls:
        if isinstance(call.module, nn.Identity) or call.field is None:
            continue
        windows = call.field.windows
        seen, jump = tuple(w.size for w in windows), tuple(w.jump for w in windows)
        follows = table and call.leaves == 1 and call.inputs == [table[-1].output] == [call.output]
        if follows and call.multiply_adds == 0 and seen == table[-1].receptive_field:
            table[-1].kind += f", {describe(call.module)}"
            table[-1].parameters += call.parameters
        else:
            sizes = list(zip(call.inputs[0][1:], call.output[1:], strict=False))
            resizes = call.leaves <= 1 and any(max(a, b) >= 1.5 * min(a, b) for a, b in sizes)
            name, kind = call.name, describe(call.module)
            table.append(
                Row(name, kind, call.inputs, call.output, call.parameters, call.multiply_adds, seen, jump, resizes)
            )
        row_of[index] = len(table) - 1
    return table, row_of


def describe(module: nn.Module) -> str:
    """Class and geometry: Conv2d 3×3, MaxPool2d 2×2 stride 2."""
    text = type(module).__name__
    if text == "Sequential" and any(True for _ in module.children()):
        return ", ".join(dict.fromkeys(type(m).__name__ for m in module.modules() if not any(m.children())))
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", 1)
    if kernel is not None:
        axes = len(module.weight.shape) - 2 if hasattr(module, "weight") else int(text[-2]) if text[-1] == "d" else 2
        kernel, stride = (v if isinstance(v, tuple) else (v,) * axes for v in (kernel, stride))
        text += f" {times(kernel)}" + (f" stride {stride[0]}" if max(stride) > 1 else "")
    elif factor := getattr(module, "scale_factor", None):
        factors = factor if isinstance(factor, tuple) else (factor,)
        text += " ×" + "×".join(f"{f:g}" for f in (factors[:1] if len(set(factors)) == 1 else factors))
    return text
