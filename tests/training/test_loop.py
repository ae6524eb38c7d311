"""Optimiser steps, losses and patches."""

import math

import numpy as np
import pytest
import torch

from napari_metastructure.errors import RunFailed
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.loop import Trainer, make_optimizer
from napari_metastructure.training.losses import LOCKED_WEIGHT, cross_entropy, dmi_iou
from napari_metastructure.training.patches import Held, PatchSampler

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
    losses = [t.step(x, y) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


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
    assert tight.step(x, y) == pytest.approx(free.step(x, y), rel=1e-5)
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
        trainer(loss=lambda logits, labels: logits.sum() * math.inf).step(*batch())


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


@pytest.mark.parametrize("shape, patch", [((40, 56), (32, 32)), ((20, 64), (32, 64)), ((8, 9), (32, 32))])
def test_patches_keep_pixels_and_labels_together(shape, patch):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, shape).astype(np.uint8)
    held = Held([label[None].astype(np.float32)], patch, CPU)
    held.set_labels([label])
    sampler = PatchSampler(held, [label.shape], patch, CPU)
    x, y = sampler.draw(rng, 16)
    assert x.shape == (16, 1, *patch) and y.shape == (16, *patch)
    known = y != 255
    assert torch.equal(x[:, 0][known], y[known].float())
    padded = max(0, patch[0] - shape[0]) * max(patch[1], shape[1])
    assert (not known.all()) == (padded > 0 or shape[1] < patch[1])


def test_larger_planes_are_drawn_more_often():
    shapes = [(32, 32), (96, 96)]
    held = Held([np.full((1, *shape), i, np.float32) for i, shape in enumerate(shapes)], (32, 32), CPU)
    held.set_labels([np.zeros(shape, np.uint8) for shape in shapes])
    sampler = PatchSampler(held, shapes, (32, 32), CPU)
    x, _ = sampler.draw(np.random.default_rng(0), 300)
    assert x[:, 0, 0, 0].mean().item() == pytest.approx(0.9, abs=0.06)


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
