"""From network outputs to instance label images: detected masks and watersheds."""
# ruff: noqa: F401

from cvf20.instances.detections import flatten_masks
from cvf20.instances.watershed import classical_watershed, deep_watershed
