"""From network outputs to instance label images: flattening of masks, watersheds, the search for their thresholds."""

from cvf20.instances.flatten import flatten_masks
from cvf20.instances.mirror import detect_mirrored
from cvf20.instances.search import grid_search
from cvf20.instances.watershed import classical_watershed, deep_watershed

__all__ = [
    "classical_watershed",
    "deep_watershed",
    "detect_mirrored",
    "flatten_masks",
    "grid_search",
]
