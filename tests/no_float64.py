"""A stand-in for a device without float64, as Apple's GPUs are: what it refuses, they refuse."""

import pytest
import torch


class OnDevice(torch.Tensor):
    """Stands for a tensor on Apple's GPU: results stay there, float64 and numpy are refused until `.cpu()`."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        leaves = name == "cpu" or (name == "to" and args[1:] in (("cpu",), (torch.device("cpu"),)))
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert mps device type tensor to numpy")
        if function == torch.Tensor.device.__get__:
            return torch.device("mps")
        result = super().__torch_function__(function, types, args, kwargs or {})
        if leaves:
            return result.as_subclass(torch.Tensor)
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("the MPS framework doesn't support float64")
        return result


@pytest.fixture
def put(monkeypatch):
    """Puts a tensor on the device that is not there, to which `.to(labels.device)` may follow."""
    to = torch.Tensor.to

    def moved(tensor, *args, **choices):
        if args and args[0] == torch.device("mps"):
            return tensor.as_subclass(OnDevice)
        return to(tensor, *args, **choices)

    monkeypatch.setattr(torch.Tensor, "to", moved)
    return lambda tensor: tensor.as_subclass(OnDevice)
