"""Optimiser steps and epochs: losses, too little memory, a device that is a step behind, control."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_metastructure.errors import RunFailed
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.training import loop
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.loop import EpochLog, Trainer, make_optimizer, run_epoch
from napari_metastructure.training.losses import LOCKED_WEIGHT, cross_entropy, dmi_iou

CPU = torch.device("cpu")


def trainer(network=None, loss=cross_entropy):
    torch.manual_seed(0)
    network = network or torch.nn.Conv2d(1, 1, 3, padding=1)
    return Trainer(network, make_optimizer(network, "sgd", 0.1), loss, CPU)


def batch(n=4, side=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 1, side, side, generator=generator)
    return x, (x[:, 0] > 0).to(torch.uint8)


def test_steps_learn():
    t, (x, y) = trainer(), batch()
    losses = [t.step(x, y).value() for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimisers_are_torchs(name, kind):
    mine, theirs = (torch.nn.Linear(3, 1) for _ in range(2))
    theirs.load_state_dict(mine.state_dict())
    more = {"momentum": 0.9, "weight_decay": 1e-4} if name == "sgd" else {}
    optimizers = make_optimizer(mine, name, 0.1), kind(theirs.parameters(), 0.1, **more)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for step in range(4):
        for network, optimizer in zip((mine, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
        if step == 1:  # saved and read again, by each other
            states = [copy.deepcopy(o.state_dict()) for o in optimizers]
            for optimizer, state in zip(optimizers, reversed(states), strict=True):
                optimizer.load_state_dict(state)
    torch.testing.assert_close(mine.state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_a_step_imports_no_compiler():
    script = (
        "import sys, torch; from napari_metastructure.training.loop import make_optimizer\n"
        "n = torch.nn.Linear(1, 1); o = make_optimizer(n, 'adamw', 0.1); n(torch.ones(1)).backward()\n"
        "o.step(); o.zero_grad(); o.load_state_dict(o.state_dict())\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


class _Tight(torch.nn.Conv2d):
    """Runs out of memory on more than `limit` patches."""

    limit = 1

    def forward(self, x):
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x)


def test_out_of_memory_halves_the_batch_says_so_and_takes_the_same_step():
    torch.manual_seed(0)
    free = trainer(torch.nn.Conv2d(1, 1, 3, padding=1))
    tight = trainer(_Tight(1, 1, 3, padding=1))
    tight.network.load_state_dict(free.network.state_dict())
    x, y = batch()
    assert tight.step(x, y).value() == pytest.approx(free.step(x, y).value(), rel=1e-5)
    for a, b in zip(free.network.parameters(), tight.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    messages = tight.take_warnings()
    assert len(messages) == 2 and "2 instead of 4" in messages[0] and "1 instead of 4" in messages[1]
    assert tight.take_warnings() == []


def test_out_of_memory_on_a_single_patch_ends_with_advice():
    t = trainer(_Tight(1, 1, 3, padding=1))
    t.network.limit = 0
    with pytest.raises(RunFailed, match="smaller patch"):
        t.step(*batch())


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="channels"):
        trainer().step(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8))


def test_a_loss_that_is_no_number_is_refused():
    with pytest.raises(RunFailed, match="learning rate"):
        trainer(loss=lambda logits, labels: logits.sum() * math.inf).step(*batch()).value()


@pytest.mark.parametrize("loss", [cross_entropy, dmi_iou])
def test_unlabelled_pixels_do_not_count(loss):
    _, y = batch()
    logits = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    y[:, :4] = 255
    other = logits.clone()
    other[:, :, :4] = 7
    assert loss(logits, y).item() == pytest.approx(loss(other, y).item())
    assert loss(logits[:, :, 4:], y[:, 4:]).item() == pytest.approx(loss(logits, y).item(), rel=1e-5)


def test_bce_is_torchs_and_nothing_labelled_gives_zero():
    _, y = batch()
    logits = torch.randn(4, 1, 8, 8)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], y.float())
    assert cross_entropy(logits, y).item() == pytest.approx(expected.item())
    assert cross_entropy(logits, torch.full_like(y, 255)).item() == 0


def test_a_locked_pixel_weighs_more():
    logits = torch.tensor([[[[3.0, -1.0]]]])
    one, other = (torch.nn.functional.softplus(torch.tensor(v)).item() for v in (-3.0, -1.0))
    found = cross_entropy(logits, torch.tensor([[[3, 0]]], dtype=torch.uint8)).item()
    assert found == pytest.approx((LOCKED_WEIGHT * one + other) / (LOCKED_WEIGHT + 1), rel=1e-5)


def test_dmi_iou_is_equation_6():
    _, y = batch(1)
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    p, s = torch.sigmoid(logits).flatten().double(), y.flatten().double()
    q = torch.stack([p, 1 - p]) @ torch.stack([s, 1 - s]).T / p.numel()
    expected = -torch.log(torch.linalg.det(q).abs()) + 1 - (p * s).sum() / (p + s - p * s).sum()
    assert dmi_iou(logits, y).item() == pytest.approx(expected.item(), abs=1e-3)


def test_black_labels_give_equation_6_no_gradient():
    logits = torch.randn(1, 1, 8, 8, requires_grad=True)
    dmi_iou(logits, torch.zeros(1, 8, 8, dtype=torch.uint8)).backward()
    assert logits.grad.abs().max() == 0


# ---- An epoch, and a device that is a step behind.


def epoch(trainer, steps=5, control=None, stop_after=None):
    """The events of an epoch, and its log; steps from ``stop_after`` on are not asked for."""
    control, log, events = control or Control(), EpochLog(), []
    drawn = iter(range(steps))

    def draw():
        if next(drawn) == stop_after:
            control.stop()
        return batch()

    try:
        for event in run_epoch(trainer, draw, 3, steps, control, log):
            events.append(event)
    except Stopped:
        events.append("stopped")
    return events, log


@pytest.mark.parametrize("stop_after", [None, 0, 2, 4])
def test_a_device_that_is_a_step_behind_tells_the_same(stop_after):
    (at_once, log), behind = epoch(trainer(), stop_after=stop_after), trainer()
    behind.ahead = 1
    events, other = epoch(behind, stop_after=stop_after)
    assert events == at_once and other.losses == log.losses
    done = 5 if stop_after in (None, 4) else stop_after + 1
    assert [e.batch for e in events if e != "stopped"] == list(range(1, done + 1))
    assert (events[-1] == "stopped") == (stop_after in (0, 2))


def test_a_loss_is_waited_for_once_the_next_step_is_under_way(monkeypatch):
    order, real = [], loop.StepLoss

    class Watched(real):
        def __init__(self, loss):
            super().__init__(loss)
            self.number = sum(name == "given" for name, _ in order)
            order.append(("given", self.number))

        def value(self):
            order.append(("waited", self.number))
            return super().value()

    monkeypatch.setattr(loop, "StepLoss", Watched)
    t = trainer()
    t.ahead = 1
    epoch(t, 3)
    assert order == [("given", 0), ("given", 1), ("waited", 0), ("given", 2), ("waited", 1), ("waited", 2)]


def test_a_loss_that_is_no_number_ends_the_epoch_one_step_later_at_most():
    calls = []

    def breaks(logits, labels):
        calls.append(1)
        return logits.mean() * (math.nan if len(calls) == 2 else 0)

    t = trainer(loss=breaks)
    t.ahead = 1
    with pytest.raises(RunFailed, match="no longer a number"):
        epoch(t)
    assert len(calls) == 3


def test_random_layers_follow_the_seed_and_the_number_of_steps():
    def dropping(seed):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Dropout(0.5))
        return Trainer(network, make_optimizer(network, "sgd", 0.1), cross_entropy, CPU, seed)

    def losses(t, steps, disturb):
        found = []
        for _ in range(steps):
            torch.manual_seed(disturb)  # what other code draws changes nothing
            found.append(t.step(*batch()).value())
        return found

    whole = losses(dropping(1), 4, 5)
    assert losses(dropping(1), 4, 6) == whole
    assert losses(dropping(2), 4, 5) != whole
    cut, resumed = dropping(1), dropping(1)
    first = losses(cut, 2, 7)
    resumed.load(copy.deepcopy(cut.state()))
    assert first + losses(resumed, 2, 8) == whole


@pytest.mark.parametrize(("architecture", "side"), [("deeplabv3plus", 64), ("unet", 32)])
def test_a_batch_halved_to_single_patches_trains_networks_that_normalise_by_batch(architecture, side):
    network = build(NetworkSpec(architecture=architecture), 0)
    t, real = trainer(network), network.forward

    def tight(x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(x)

    network.forward = tight
    losses = [t.step(*batch(2, side)).value() for _ in range(3)]
    assert all(map(math.isfinite, losses))
    assert [w for w in t.take_warnings() if "1 instead of 2" in w]


def test_control():
    control = Control()
    control.checkpoint()
    control.pause()
    assert control.paused
    control.stop()
    assert control.stopped and not control.paused
    control.pause()
    assert not control.paused
    with pytest.raises(Stopped):
        control.checkpoint()


def test_later_corrections_win_and_add():
    control = Control()
    control.correct(0, np.array([[1, 1, 255]]))
    control.correct(0, np.array([[0, 255, 255]]))
    np.testing.assert_array_equal(control.take_corrections()[0], [[0, 1, 255]])
