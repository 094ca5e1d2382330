"""The same network without batch norm."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvf20.models.layers import BATCH_NORM, CONV
from cvf20.models.spec import Recorded


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy whose batch norms have become part of the convolutions before them; in eval mode the same function.

    In eval mode batch norm is one factor and one offset per channel. Once they are in the convolution's weights, nothing
    depends on the rest of the batch any more, in training neither, and what was pretrained is kept. "Before" is the order
    in which a module registers its children, as in nn.Sequential and in torchvision's networks.
    Raises ValueError where a batch norm does not follow a convolution.
    """
    folded = copy.deepcopy(model).eval()
    for name, parent in list(folded.named_modules()):
        before = (None, None)
        for child_name, child in list(parent.named_children()):
            if isinstance(child, tuple(BATCH_NORM.values())):
                conv_name, conv = before
                if not isinstance(conv, tuple(CONV.values())):
                    raise ValueError(f"batch norm {name}.{child_name} follows {conv}, wanted a convolution")
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, child))
                setattr(parent, child_name, nn.Identity())
            before = (child_name, child)
    if isinstance(folded, Recorded) and folded.built_as is not None:
        folded.built_as = f"cvf20.models.fold_batch_norm({folded.built_as})"
    return folded.train(model.training)
