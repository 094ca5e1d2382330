"""From network outputs to instance label images: flattening of masks, watersheds, the search for their thresholds."""
# ruff: noqa: F401

from cvf20.instances.flatten import flatten_masks
from cvf20.instances.mirror import detect_mirrored
from cvf20.instances.search import grid_search
from cvf20.instances.watershed import classical_watershed, deep_watershed
