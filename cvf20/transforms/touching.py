"""Cells that touch: augmented as instances, then parted into a foreground whose components are the cells.

Resampling a binary mask would break the lines of one pixel between its cells and teach a network to merge them.
"""

from typing import Any

import torch
from skimage.measure import label
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching


class SeparateTouching(v2.Transform):
    """Last step of an augmentation: instance mask → foreground mask {0, 1}, one 4-connected component per cell.

    E.g. v2.Compose([train_transforms(…), SeparateTouching()]) on YeastMovie(target="instances"). An instance that
    augmentation cut in pieces, or mirrored at the edge, counts as one cell per piece. Void stays void. Everything but
    masks passes unchanged, weight maps too.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if type(inpt) is not tv_tensors.Mask:
            return inpt
        labels = inpt.as_subclass(Tensor)
        void = labels == VOID
        parted = separate_touching(label(labels.masked_fill(void, 0).numpy(), connectivity=1))
        return tv_tensors.wrap(torch.from_numpy(parted).to(labels.dtype).masked_fill(void, VOID), like=inpt)
