"""Training steps: mixed precision, recovery from too little memory, NaN losses, learning rates, epochs."""

import inspect
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

from napari_metastructure.errors import RunFailed
from napari_metastructure.networks.device import Download, mixed_precision, out_of_memory, release, scaler, seeded
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import BatchFinished, Event, Warned
from napari_metastructure.training.losses import Loss

OptimizerName = Literal["adamw", "sgd"]

ScheduleName = Literal["constant", "step", "onecycle"]


def make_optimizer(network: nn.Module, name: OptimizerName, learning_rate: float) -> Optimizer:
    """Return AdamW, or SGD with momentum 0.9 (the paper's)."""
    if name == "sgd":
        return _eager(torch.optim.SGD)(network.parameters(), learning_rate, momentum=0.9, weight_decay=1e-4)
    return _eager(torch.optim.AdamW)(network.parameters(), learning_rate)


def _eager(kind: type[Optimizer]) -> Any:
    """Return a kind of optimiser without torch's wrappers that import its compiler first: one to three seconds.

    Only its own methods are unwrapped; other optimisers of the process, compiled ones among them, stay as they are.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)


def make_schedule(optimizer: Optimizer, name: ScheduleName, learning_rate: float, steps: int) -> LRScheduler:
    """Return the schedule of a run of so many steps; its ``step`` is called after each of them.

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


class StepLoss:
    """The loss of a step, perhaps still being computed.

    Parameters
    ----------
    loss : scalar Tensor
    """

    def __init__(self, loss: Tensor) -> None:
        self._loss = Download(loss)

    def value(self) -> float:
        """Wait for it, except for nothing that the device was given after it.

        Raises
        ------
        RunFailed
            If it is not finite.
        """
        value = float(self._loss.get())
        if not math.isfinite(value):
            raise RunFailed("The loss is no longer a number; choose a smaller learning rate or cross-entropy.")
        return value


@dataclass
class Trainer:
    """Takes optimiser steps; halves the batch where memory runs out and goes on.

    A `RunFailed` says what could not be helped.
    """

    network: nn.Module
    optimizer: Optimizer
    loss: Loss
    device: torch.device
    seed: int = 0
    """Of random layers such as dropout."""
    seen: Callable[[Tensor, Tensor], None] | None = None
    """Given the logits and labels of every step, without gradients."""
    ranks: Ranks = ALONE
    """The processes that each have a share of every batch."""

    def __post_init__(self) -> None:
        self.scaler = scaler(self.device)
        self.ahead = 1 if self.device.type == "cuda" else 0
        """Steps whose loss is not waited for: CUDA computes one while the host prepares the next."""
        self._steps = 0
        self._parts = 1
        self._parallel: nn.Module | None = None
        self._warnings: list[str] = []

    def take_warnings(self) -> list[str]:
        """Return sentences for the user that came up since the last call."""
        taken, self._warnings = self._warnings, []
        return taken

    def step(self, inputs: Tensor, labels: Tensor) -> StepLoss:
        """Train on one batch.

        Where memory runs out the batch is cut in halves whose gradients are summed, so the step stays the one
        that was asked for (except for losses and normalisations that look at the whole batch).

        Raises
        ------
        RunFailed
            If a single patch does not fit; among several processes, if the share of one does not.
        """
        while True:
            try:
                return self._step(inputs, labels)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            # Outside the handler: there the traceback still holds the tensors that did not fit.
            self._halve(len(inputs))

    def _halve(self, batch: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        release(self.device)
        if not self.ranks.alone:  # the others are in the middle of this step
            raise RunFailed(
                f"Out of memory on {self.device} with {batch} patches; choose a smaller batch size, patch size or "
                "network, or start more processes."
            )
        if self._parts >= batch:
            raise RunFailed(
                f"Out of memory on {self.device} with a single patch; choose a smaller patch size or network, "
                "or device cpu."
            )
        self._parts *= 2
        size = max(1, batch // self._parts)
        self._warnings.append(
            f"Out of memory on {self.device}: going on with {size} instead of {batch} patches at once."
        )

    def _step(self, inputs: Tensor, labels: Tensor) -> StepLoss:
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        size = max(1, len(inputs) // self._parts)
        value = torch.zeros((), device=self.device)
        if self._parallel is None:  # made here: all processes have come so far, and what was resumed is in place
            self._parallel = self.ranks.parallel(self.network, self.device)
        shared = {} if self.ranks.alone else {"total": self.ranks.total}
        with seeded(self.ranks.seed(self.seed + self._steps), self.device):
            for x, y in zip(inputs.split(size), labels.split(size), strict=True):
                with mixed_precision(self.device, training=True), self.ranks.statistics(self.device):
                    logits = self._parallel(x)
                loss = self.loss(logits, y, **shared) * (len(x) / len(inputs))
                if self.seen is not None:
                    self.seen(logits.detach(), y)
                self.scaler.scale(loss).backward()
                value += loss.detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._steps += 1
        return StepLoss(value)

    def state(self) -> dict[str, Any]:
        """Return all that a later `load` needs to go on as if nothing had happened; further steps do not change it."""
        return {
            "network": deepcopy(self.network.state_dict()),
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "scaler": self.scaler.state_dict(),
            "steps": self._steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, on whatever device that was."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for weights, kept in self.optimizer.state.items():  # torch compares neither these nor what follows
            if any(t.dim() and t.shape != weights.shape for t in kept.values() if isinstance(t, Tensor)):
                raise ValueError("an optimiser of another network")
        if state["scaler"]:  # that of a device that needs none is empty
            self.scaler.load_state_dict(state["scaler"])
        self._steps = int(state["steps"])


@dataclass
class EpochLog:
    """Record of an epoch: the loss of each step, and the seconds spent on drawing patches and on the network."""

    losses: list[float] = field(default_factory=list)
    drawing: float = 0.0
    stepping: float = 0.0

    @property
    def loss(self) -> float:
        """Mean loss of the steps; nan before the first."""
        return math.fsum(self.losses) / len(self.losses) if self.losses else math.nan

    @property
    def seconds(self) -> float:
        """Time spent on patches and steps; pauses and listeners do not count."""
        return self.drawing + self.stepping


def run_epoch(
    trainer: Trainer,
    draw: Callable[[], tuple[Tensor, Tensor]],
    epoch: int,
    steps: int,
    control: Control,
    log: EpochLog,
    after: Callable[[], None] | None = None,
) -> Iterator[Event]:
    """Train for ``steps`` steps, and yield an event for each; fill ``log`` on the way.

    A step is reported once its loss is there: on CUDA when the next one has been given to the device, which so never
    waits for the host. A stop or pause acts before the next step in any case.

    Parameters
    ----------
    draw : callable
        Gives the inputs and labels of a step.
    epoch : int
        Its number, from 1.
    control : Control
        Asked before each step.
    after : callable, optional
        Called after each step: a learning-rate schedule.

    Raises
    ------
    RunFailed
        If a single patch does not fit into memory, or a loss is not finite.
    """
    waiting: deque[StepLoss] = deque()

    def finished(ahead: int) -> Iterator[BatchFinished]:
        while len(waiting) > ahead:
            began = time.perf_counter()
            log.losses.append(waiting.popleft().value())
            log.stepping += time.perf_counter() - began
            yield BatchFinished(epoch, len(log.losses), steps, log.losses[-1])

    try:
        for _ in range(steps):
            trainer.ranks.checkpoint(control)
            began = time.perf_counter()
            inputs, labels = draw()
            drawn = time.perf_counter()
            waiting.append(trainer.step(inputs, labels))
            if after is not None:
                after()
            log.drawing += drawn - began
            log.stepping += time.perf_counter() - drawn
            yield from (Warned(message) for message in trainer.take_warnings())
            yield from finished(trainer.ahead)
    except Stopped:
        yield from finished(0)
        raise
    yield from finished(0)
