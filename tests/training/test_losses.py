"""Losses against what libraries and formulas say, binary and of several classes, with pixels left out."""

import numpy as np
import pytest
import torch

from napari_metastructure.training.losses import LOSSES, cross_entropy, dice, dmi_iou, iou


@pytest.fixture
def several():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 8, 9, generator=generator, requires_grad=True)
    labels = torch.randint(0, 4, (2, 8, 9), generator=generator).to(torch.uint8)
    labels[0, :3] = 255
    return logits, labels


def test_cross_entropy_is_torchs_with_ignored_pixels(several):
    logits, labels = several
    expected = torch.nn.functional.cross_entropy(logits, labels.long(), ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_unlabelled_pixels_change_nothing_and_get_no_gradient(several, name):
    logits, labels = several
    changed = logits.detach().clone()
    changed[0, :, :3] += 5
    torch.testing.assert_close(LOSSES[name](changed, labels), LOSSES[name](logits.detach(), labels))
    LOSSES[name](logits, labels).backward()
    assert not logits.grad[0, :, :3].any()
    assert logits.grad[0, :, 3:].abs().min() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("classes", [1, 4])
def test_better_predictions_cost_less(name, classes):
    labels = torch.arange(max(classes, 2)).repeat_interleave(8).repeat(8, 1)[None].to(torch.uint8)
    if classes == 1:
        right = (2.0 * labels - 1)[:, None]
    else:
        right = torch.nn.functional.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()
    costs = [LOSSES[name](sharpness * right, labels).item() for sharpness in (0.1, 0.5, 2.0, 8.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0] - 0.3


def test_dice_and_iou_of_certain_masks_are_those_of_the_masks():
    rng = np.random.default_rng(0)
    p, y = rng.random((1, 16, 16)) < 0.4, rng.random((1, 16, 16)) < 0.5
    logits = torch.from_numpy(np.where(p, 50.0, -50.0))[:, None]
    labels = torch.from_numpy(y.astype(np.uint8))
    both, either = (p & y).sum(), (p | y).sum()
    assert dice(logits, labels).item() == pytest.approx(1 - 2 * both / (p.sum() + y.sum()), abs=1e-5)
    assert iou(logits, labels).item() == pytest.approx(1 - both / either, abs=1e-5)


def test_a_class_the_batch_lacks_counts_for_nothing(several):
    logits, _ = several
    labels = torch.zeros(2, 8, 9, dtype=torch.uint8)
    labels[:, :4] = 1
    for loss in (dice, iou):
        only = loss(logits[:, :2] + torch.zeros_like(logits[:, :2]), labels)
        assert torch.isfinite(only)
    p = torch.softmax(logits, 1)
    soft = [1 - 2 * (p[:, k] * (labels == k)).sum() / (p[:, k].sum() + (labels == k).sum()) for k in (0, 1)]
    torch.testing.assert_close(dice(logits, labels), torch.stack(soft).mean(), atol=1e-4, rtol=1e-4)


def test_dmi_of_two_channels_is_that_of_one(several):
    """det Q of eq. (5) is the same for (P, 1 - P) from a softmax of two channels as from a sigmoid."""
    logits, labels = several
    labels = torch.where(labels == 255, labels, labels % 2)
    one = logits[:, :1].detach()
    two = torch.cat([torch.zeros_like(one), one], 1)
    p, y = torch.sigmoid(one[:, 0])[labels != 255], labels[labels != 255].float()
    joint = torch.stack([1 - p, p]) @ torch.stack([1 - y, y]).T / len(y)
    determinant = -torch.log(torch.linalg.det(joint).abs() + 1e-6)
    found = [dmi_iou(x, labels) - iou(x, labels) for x in (one, two)]
    torch.testing.assert_close(found[0], determinant, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[1], determinant, atol=1e-4, rtol=1e-4)
