"""Void and range of label tensors, as losses and metrics see them."""

from torch import Tensor

VOID = 255  # pixels without a label: no loss and no metric looks at them


def split_void(target: Tensor, num_classes: int, ignore_index: int = VOID) -> tuple[Tensor, Tensor]:
    """Labels (int64, 0 where void) and the mask of the pixels that count, both shaped like the target.

    A label that is neither void nor in 0 … num_classes − 1 is a ValueError.
    """
    check_integer(target, "target")
    labels = target.long()
    keep = labels != ignore_index
    labels = labels.masked_fill(~keep, 0)
    check_labels(labels, num_classes, "target")
    return labels, keep


def check_labels(labels: Tensor, num_classes: int, name: str) -> None:
    """Raise a ValueError unless every label lies in 0 … num_classes − 1.

    One pass over the labels, and one synchronisation on a GPU, where an index out of range would end the process.
    """
    check_integer(labels, name)
    if labels.numel() == 0:
        return
    lowest, highest = (int(value) for value in labels.aminmax())
    if lowest < 0 or highest >= num_classes:
        found = lowest if lowest < 0 else highest
        raise ValueError(f"{name} holds the label {found}, wanted 0 to {num_classes - 1}")


def check_integer(labels: Tensor, name: str) -> None:
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} must hold integer labels, found dtype {labels.dtype}")
