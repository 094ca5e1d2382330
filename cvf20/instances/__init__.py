"""From network outputs to instance label images: detected masks, watersheds, and the search for their thresholds."""
# ruff: noqa: F401

from cvf20.instances.detections import detect_mirrored, flatten_masks
from cvf20.instances.watershed import classical_watershed, deep_watershed, grid_search
