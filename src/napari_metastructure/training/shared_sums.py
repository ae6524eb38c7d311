"""Sums over several processes, with gradients, and batch normalisation by them."""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F  # noqa: N812 - the name the field uses
from torch.overrides import TorchFunctionMode


class _Total(torch.autograd.Function):
    """Adds up a tensor over all processes; what each then makes of it adds up to its gradient."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        added = sums.clone()
        distributed.all_reduce(added)
        return added

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])


def total(sums: Tensor) -> Tensor:
    """Add up a tensor over all processes; gradients come back from all of them."""
    added: Tensor = _Total.apply(sums)  # type: ignore[no-untyped-call]
    return added


class SharedStatistics(TorchFunctionMode):
    """Context in which batch normalisation that learns takes the statistics of all processes.

    torch's own layers for that (``SyncBatchNorm``) need CUDA. Any kind of layer is served, for all of them call
    ``torch.nn.functional.batch_norm``.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or ours in its place."""
        return (self._normalise if func is F.batch_norm else func)(*args, **(kwargs or {}))

    def _normalise(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        own_var, own_mean = torch.var_mean(x, axes, correction=0)
        own = x.numel() // x.shape[1]
        sums = total(torch.cat([own * own_mean, own_mean.new_tensor([own])]))
        count, mean = float(sums[-1].detach()), sums[:-1] / sums[-1]
        var = total(own * (own_var + (own_mean - mean) ** 2)) / count  # about the common mean: no cancellation
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(var * (count / max(1.0, count - 1)), momentum)
        scale = torch.rsqrt(var + eps) if weight is None else weight * torch.rsqrt(var + eps)
        shift = -mean * scale if bias is None else bias - mean * scale
        shape = [1, -1, *[1] * (x.dim() - 2)]
        return x * scale.view(shape) + shift.view(shape)
