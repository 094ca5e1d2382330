"""The same network without batch norm."""

import copy

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvf20.models.spec import call_text


class _Children(fx.Tracer):
    """Follows a module's own forward, not those of its children."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy whose batch norms have become part of the convolutions that run before them; in eval mode the same function.

    In eval mode batch norm is one factor and one offset per channel. Once they are in the convolution's weights, nothing
    depends on the rest of the batch any more, in training neither, and what was pretrained is kept.
    Raises ValueError where a norm follows something else than a convolution whose output only it reads.
    """
    folded = copy.deepcopy(model).eval()
    for parent in [m for m in folded.modules() if any(isinstance(c, _BatchNorm) for c in m.children())]:
        for norm in [node for node in _Children().trace(parent).nodes if node.op == "call_module"]:
            if not isinstance(parent.get_submodule(norm.target), _BatchNorm):
                continue
            before = norm.args[0]
            conv = parent.get_submodule(before.target) if before.op == "call_module" else before
            if not isinstance(conv, _ConvNd) or len(before.users) > 1:
                raise ValueError(f"batch norm {norm.target!r} follows {conv}, wanted a convolution that only it reads")
            setattr(parent, before.target, fuse_conv_bn_eval(conv, parent.get_submodule(norm.target)))
            setattr(parent, norm.target, nn.Identity())
    folded.built_as = call_text(fold_batch_norm, model)
    return folded.train(model.training)
