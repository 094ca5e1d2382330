"""The same network without batch norm."""

import copy

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvf20.models.spec import call_text


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy whose batch norms have become part of the convolutions before them; in eval mode the same function.

    In eval mode batch norm is one factor and one offset per channel. Once they are in the convolution's weights, nothing
    depends on the rest of the batch any more, in training neither, and what was pretrained is kept.
    Before means in the order of registration. Raises ValueError where something else than a convolution stands there.
    """
    folded = copy.deepcopy(model).eval()
    for parent in list(folded.modules()):
        before, conv = None, None
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                if not isinstance(conv, _ConvNd):
                    raise ValueError(f"batch norm {name!r} follows {conv}, wanted a convolution")
                setattr(parent, before, fuse_conv_bn_eval(conv, child))
                setattr(parent, name, nn.Identity())
            before, conv = name, child
    folded.built_as = call_text(fold_batch_norm, model)
    return folded.train(model.training)
