"""Semantic segmentation for four university exercises: networks, losses, metrics, training and the notebooks' plots."""

import warnings

from cvf20 import imported  # noqa: F401 — before all others: the key of a run is made of code as it was imported

# tqdm's word about widgets would stand in every rendered notebook; progress is printed in plain lines here
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
