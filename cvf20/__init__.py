"""Semantic segmentation for four university exercises: networks, losses, metrics, training and the notebooks' plots."""

import warnings

# tqdm's word about widgets would stand in every rendered notebook; progress is printed in plain lines here
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
