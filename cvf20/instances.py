"""From network outputs to instance label images: a detector's masks, and watersheds (Vincent and Soille 1991)."""

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed
from torch import Tensor

from cvf20.labels.instances import renumber
from cvf20.metrics.instance import foreground_iou, match_instances
from cvf20.models.watershed import foreground_probability, inner_energy


def deep_watershed(output: Tensor, *, foreground=0.5, depth=0.4, smooth=2.0, min_area=1) -> Tensor:
    """Instances (N, H, W) int64 of the output (N, 1 + bins + 2, H, W) of a `WatershedNet`, 0 background.

    foreground: probability above which a pixel belongs to some instance
    depth:      how far the expected energy (0 outside to 1 innermost) must fall between two summits for them to be
                two instances: the dynamics of a summit (Najman and Schmitt 1996); a head rises above its neck less
    smooth:     standard deviation in pixels of the Gaussian that the energy is smoothed with
    min_area:   pixels of the smallest instance
    """
    heads = foreground_probability(output), inner_energy(output)
    probability, energy = (values.detach().cpu().double().numpy() for values in heads)
    instances = []
    for inside, height in zip(probability > foreground, energy, strict=True):
        height = np.where(inside, ndimage.gaussian_filter(height, smooth), 0)
        flooded = reconstruction(height - depth, height)  # dilation: nothing but summits of that depth stays as low
        markers, _ = ndimage.label(local_maxima(flooded) & inside, np.ones((3, 3)))
        instances.append(_flood(height, markers, inside, min_area))
    return torch.from_numpy(np.stack(instances)).to(output.device)


def classical_watershed(foreground: Tensor, *, min_distance: int = 5, min_area: int = 1) -> Tensor:
    """Instances (N, H, W) int64 of a semantic mask (N, H, W) bool, by its own distance transform: the baseline.

    min_distance: pixels between two peaks of the distance to the background, each of which is a marker
    min_area:     pixels of the smallest instance
    """
    if foreground.dtype != torch.bool:
        raise ValueError(f"foreground must be bool, found dtype {foreground.dtype}")
    instances = []
    for inside in foreground.cpu().numpy():
        height = np.zeros(inside.shape) if inside.all() else ndimage.distance_transform_edt(inside)
        components = ndimage.label(inside)[0]
        peaks = peak_local_max(height, min_distance=min_distance, labels=components, exclude_border=False)
        markers = np.zeros(inside.shape, dtype=np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        instances.append(_flood(height, markers, inside, min_area))
    return torch.from_numpy(np.stack(instances)).to(foreground.device)


def watershed_metrics(output: Tensor, target: Tensor, **thresholds) -> dict[str, float]:
    """Foreground IoU, F1_50 and PQ of a `WatershedNet`'s output: `metrics` of a Learner; partial binds thresholds."""
    found = match_instances(deep_watershed(output, **thresholds), target)
    return {**foreground_iou(output, target), "F1_50": found["F1"], "PQ": found["PQ"]}


def _flood(height: np.ndarray, markers: np.ndarray, inside: np.ndarray, min_area: int) -> np.ndarray:
    """Watershed from the summits down to the edge of `inside`; small instances are removed."""
    components, _ = ndimage.label(inside, np.ones((3, 3)))
    orphans = inside & ~np.isin(components, components[markers > 0])
    markers = np.where(orphans, components + markers.max(), markers)
    labels = watershed(-height, markers, connectivity=2, mask=inside)
    large = np.where(np.bincount(labels.ravel())[labels] >= min_area, labels, 0)
    return renumber(torch.from_numpy(large)).numpy()


def flatten_masks(masks: Tensor, scores: Tensor, *, min_score: float = 0.5, min_visible: float = 0.5) -> Tensor:
    """Overlapping masks to a label image (H, W) int64: a pixel goes to the best score that claims it; the best is 1.

    masks:       (n, H, W) bool, or probabilities that claim a pixel above 0.5
    scores:      (n,); masks below `min_score` are left out
    min_visible: a mask of which better ones leave less than this share is a duplicate and left out (Kirillov et al.
                 2019, "Panoptic segmentation", section 5.2); of two identical masks one stays
    """
    masks = masks if masks.dtype == torch.bool else masks > 0.5
    labels = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for index in scores.argsort(descending=True, stable=True).tolist():
        visible = masks[index] & (labels == 0)
        area = int(visible.sum())
        if scores[index] >= min_score and area > 0 and area >= min_visible * int(masks[index].sum()):
            labels[visible] = labels.max() + 1
    return renumber(labels)
