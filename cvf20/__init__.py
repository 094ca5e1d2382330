"""Semantic segmentation for four university exercises: networks, losses, metrics, training and the notebooks' plots."""

__version__ = "0.1.0"
