"""The same network without batch norm."""

import copy

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvf20.models.spec import Recorded


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy whose batch norms have become part of the convolutions before them; in eval mode the same function.

    In eval mode batch norm is one factor and one offset per channel. Once they are in the convolution's weights, nothing
    depends on the rest of the batch any more, in training neither, and what was pretrained is kept. What runs before a
    norm is read off the forward of the module that holds both.
    Raises ValueError where that is not a convolution whose output goes nowhere else.
    """
    folded = copy.deepcopy(model).eval()
    for name, parent in list(folded.named_modules()):
        norms = [child for child, module in parent.named_children() if isinstance(module, _BatchNorm)]
        sources = _sources(parent, name) if norms else {}
        for norm in norms:
            source = sources.get(norm)
            conv = None if source is None else parent.get_submodule(source)
            if not isinstance(conv, _ConvNd):
                raise ValueError(f"batch norm {name}.{norm} follows {conv}, wanted a convolution that only it reads")
            setattr(parent, source, fuse_conv_bn_eval(conv, parent.get_submodule(norm)))
            setattr(parent, norm, nn.Identity())
    if isinstance(folded, Recorded) and folded.built_as is not None:
        folded.built_as = f"cvf20.models.fold_batch_norm({folded.built_as})"
    return folded.train(model.training)


class _Children(fx.Tracer):
    """Follows a module's own forward, not those of its children."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


def _sources(parent: nn.Module, name: str) -> dict[str, str]:
    """For each child the one child that feeds it, and nothing else."""
    try:
        calls = [node for node in _Children().trace(parent).nodes if node.op == "call_module"]
    except Exception as error:  # whatever a forward raises that asks for values
        raise ValueError(
            f"{name or type(parent).__name__}: the order of its layers cannot be told ({error})"
        ) from error
    once = [node for node in calls if sum(other.target == node.target for other in calls) == 1]
    return {n.target: n.args[0].target for n in once if n.args[0] in once and len(n.args[0].users) == 1}
