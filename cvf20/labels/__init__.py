"""Void, type, shape and range of label tensors, as losses and metrics see them."""

from torch import Tensor

VOID = 255  # pixels without a label: no loss and no metric looks at them


def check_integer(labels: Tensor, name: str) -> Tensor:
    """The labels as int64: bool, any integer type, or floats that hold whole numbers, such as 0.0 and 1.0."""
    if labels.is_floating_point():
        broken = (labels != labels.round()) | labels.isinf()  # nan differs from itself
        if broken.any():
            raise ValueError(f"{name} holds {labels[broken][0].item():g}, wanted labels: whole numbers")
    return labels.long()  # before anything is compared: in torch int8's −1 equals 255, and uint8's 255 equals −1


def check_labels(labels: Tensor, num_classes: int, name: str) -> Tensor:
    """The labels as int64; ValueError unless all lie in 0 … num_classes − 1 (on a GPU others would end the process)."""
    labels = check_integer(labels, name)
    lowest, highest = (int(value) for value in labels.aminmax()) if labels.numel() else (0, 0)
    if lowest < 0 or highest >= num_classes:
        found = lowest if lowest < 0 else highest
        raise ValueError(f"{name} holds the label {found}, wanted 0 to {num_classes - 1}")
    return labels


def split_void(target: Tensor, num_classes: int, ignore_index: int = VOID) -> tuple[Tensor, Tensor]:
    """Labels (int64, 0 where void) and the mask of the pixels that count, both shaped like the target."""
    labels = check_integer(target, "target")
    keep = labels != ignore_index
    return check_labels(zero_where_void(labels, keep), num_classes, "target"), keep


def zero_where_void(labels: Tensor, keep: Tensor) -> Tensor:
    """The labels themselves where nothing is void: a copy costs more than counting them does."""
    return labels if keep.count_nonzero() == keep.numel() else labels.masked_fill(~keep, 0)


def label_images(labels: Tensor, name: str) -> Tensor:
    """(N, H, W) int64 of labels ≥ 0: (N, H, W), (N, 1, H, W), or of one image (H, W)."""
    labels = check_integer(labels, name)
    if labels.ndim == 2:
        labels = labels.unsqueeze(0)
    if labels.ndim == 4 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    if labels.ndim != 3:
        raise ValueError(f"{name} must be (N, H, W), (N, 1, H, W) or one image (H, W), found {tuple(labels.shape)}")
    if labels.numel() and labels.min() < 0:
        raise ValueError(f"{name} holds the label {int(labels.min())}, wanted labels ≥ 0")
    return labels
