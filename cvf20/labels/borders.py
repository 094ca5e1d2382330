"""How far every pixel is from the nearest border between two labels: what the border losses and metrics share."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from cvf20.labels import VOID, label_images
from cvf20.labels.instances import consecutive

Box = tuple[slice, slice]


def border_distance(labels: Tensor) -> Tensor:
    """(N, H, W) float32: Euclidean distance in pixels to the nearest pixel of another label; 1 right at a border.

    labels: (N, H, W) classes or instances; void is none. Neither the step to void nor the image's edge is a border, and
            void pixels hold inf, as do those of an image with one label only.
    """
    images = label_images(labels, "labels").cpu()
    distance = torch.full(images.shape, torch.inf)
    for labels_of_one, found in zip(images.numpy(), distance.numpy(), strict=True):
        for window, mine, depth in label_depths(labels_of_one):
            found[window][mine] = depth[mine]
    return distance.to(labels.device)


def label_depths(labels: np.ndarray, leave_out=(VOID,)) -> Iterator[tuple[Box, np.ndarray, np.ndarray]]:
    """Per label: a window, its pixels in there (bool), and the distance in there to pixels neither of it nor void."""
    void = labels == VOID
    numbers, position = consecutive(labels)
    for k, box in enumerate(ndimage.find_objects(position + 1)):  # which wants 1, 2, …
        if numbers[k] not in leave_out:
            # The nearest other pixel lies in the label's bounding box or right beside it, unless that is void
            window = np.s_[:, :] if void.any() else grow(box, 1)
            mine = position[window] == k
            open_ground = mine | void[window]
            alone = open_ground.all()
            yield window, mine, np.full(mine.shape, np.inf) if alone else ndimage.distance_transform_edt(open_ground)


def grow(box: Box, margin: int) -> Box:
    """The box with a margin of so many pixels; slices that reach beyond the image end there by themselves."""
    return tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)


def check_weights(weight_map: Tensor, values: Tensor) -> Tensor:
    """The weights in the type of the values (N, H, W); ValueError unless they have their shape."""
    if weight_map.shape != values.shape:
        raise ValueError(f"weight_map has shape {tuple(weight_map.shape)}, wanted {tuple(values.shape)}")
    return weight_map.to(values.dtype)
