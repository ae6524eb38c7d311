"""How the learning rate changes from step to step."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

ScheduleName = Literal["constant", "step", "onecycle"]


def make_schedule(optimizer: Optimizer, name: ScheduleName, learning_rate: float, steps: int) -> LRScheduler:
    """The schedule of a run of so many steps; its ``step`` is called after each of them.

    Parameters
    ----------
    name : {"constant", "step", "onecycle"}
        ``step``: a tenth after half of the steps, a hundredth after three quarters. ``onecycle``: up to
        ``learning_rate`` and down again (Smith and Topin, 2018).
    """
    if name == "step":
        return MultiStepLR(optimizer, [steps // 2, 3 * steps // 4], gamma=0.1)
    if name == "onecycle":
        return OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)  # one is taken where it is made
    return LambdaLR(optimizer, lambda step: 1.0)
