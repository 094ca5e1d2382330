"""Bringing pictures of many sizes to one, without distortion."""

from typing import Any

from torchvision.transforms import v2

from cvf20.padding import PadTo
from cvf20.transforms import IMAGENET_MEAN, IMAGENET_STD, to_input


class ScaleInto(v2.Transform):
    """Scale image and mask to the largest size with their own proportions that fits into `size` (height, width)."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size={size!r}: (height, width), each at least 1, is wanted")
        self.size = tuple(size)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        found = v2.functional.get_size(flat_inputs[0])
        scale = min(limit / length for limit, length in zip(self.size, found, strict=True))
        return {"size": [max(1, round(scale * length)) for length in found]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return v2.functional.resize(inpt, params["size"], antialias=True)  # masks: nearest neighbour


def scaled_eval_transforms(size: tuple[int, int], mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """What validation sees during training: people in their proportions, padded to `size` with void, normalised."""
    return v2.Compose([ScaleInto(size), PadTo(size), to_input(mean, std)])
