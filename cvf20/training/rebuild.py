"""A network from its saved weights: what it was built with, read off their names and shapes, or said in words."""

import ast
from collections.abc import Mapping

from torch import Tensor, nn

from cvf20 import models
from cvf20.models import BaseConv, LightDecoderModel, ResnetBasedModel, your_models


def rebuild(model: str, state: Mapping[str, Tensor], spec: str | None = None) -> nn.Module:
    """The network of class `model` that holds `state`; half-precision weights become float32.

    spec: the call that built it with literal arguments, e.g. "UNet(4, 3, 9, 16, norm_type='batch')". BaseConv,
          ResnetBasedModel and LightDecoderModel need none: their weights tell. A U-Net's do not, since interpolation
          and activations have no weights.
    Raises ValueError where the class is unknown, a spec is needed or malformed, or the weights do not fit.
    """
    network = from_spec(spec) if spec else _from_weights(model, state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit {spec or model}: {error}") from error
    return network.eval()


def from_spec(spec: str) -> nn.Module:
    """Build a network of cvf20.models from the text of a call whose arguments are literals."""
    try:
        call = ast.parse(spec.strip(), mode="eval").body
        name = call.func.id
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, AttributeError, ValueError) as error:
        raise ValueError(
            f"model={spec!r}: a call with literal arguments is wanted, e.g. 'UNet(4, 3, 9, 16)'"
        ) from error
    known = {key: value for key, value in {**vars(your_models), **vars(models)}.items() if _is_network(value)}
    if name not in known:
        raise ValueError(f"model={spec!r}: {name} is not one of {', '.join(sorted(known))}")
    try:
        return known[name](*arguments, **keywords)
    except TypeError as error:
        raise ValueError(f"model={spec!r}: {error}") from error


def _is_network(value) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.startswith("cvf20.models")


def _from_weights(model: str, state: Mapping[str, Tensor]) -> nn.Module:
    if model == "BaseConv":
        *convolutions, last = [tensor for tensor in state.values() if tensor.dim() == 4]
        return BaseConv(convolutions[0].shape[1], len(last), tuple(map(len, convolutions)))
    if model == "ResnetBasedModel":
        return ResnetBasedModel(len(state["output.weight"]), full_resolution="up.4.weight" in state)
    if model == "LightDecoderModel":
        num_classes, width = state["output.weight"].shape[:2]
        encoder = "resnet18" if "encoder.conv1.weight" in state else "mobilenet_v2"
        return LightDecoderModel(num_classes, encoder, width=width)
    raise ValueError(f'{model}: its weights do not tell how it was built; say so, e.g. --model "{model}(4, 3, 9, 16)"')
