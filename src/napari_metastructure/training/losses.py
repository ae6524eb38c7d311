"""Losses on foreground logits and labels of 0, 1 and 255 (unlabelled, left out)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name the field uses

from napari_metastructure.labels import UNLABELLED

LossName = Literal["bce", "dmi_iou"]
Loss = Callable[[Tensor, Tensor], Tensor]

LOCKED = 2
"""Added to 0 or 1 where the user corrected the label: these pixels weigh `LOCKED_WEIGHT` times."""
LOCKED_WEIGHT = 10.0


def weights(labels: Tensor) -> Tensor:
    """Weight of each pixel, float32: 0 unlabelled, 1 labelled, `LOCKED_WEIGHT` corrected by the user."""
    weight = (labels != UNLABELLED).float()
    return weight + (LOCKED_WEIGHT - 1) * ((labels >= LOCKED) & (labels != UNLABELLED)).float()


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over the labelled pixels.

    Parameters
    ----------
    logits : (N, 1, Y, X) float tensor
    labels : (N, Y, X) uint8 tensor
        0, 1, 255 = unlabelled; 2 and 3 are 0 and 1 that the user locked.

    Returns
    -------
    scalar tensor
        0 (with a gradient of 0) if nothing is labelled.
    """
    weight = weights(labels)
    losses = F.binary_cross_entropy_with_logits(logits[:, 0].float(), (labels & 1).float(), reduction="none")
    return (losses * weight).sum() / weight.sum().clamp(min=1)


def dmi_iou(logits: Tensor, labels: Tensor, epsilon: float = 1e-6) -> Tensor:
    """L_DMI + L_IOU of eq. (6), over all labelled pixels of the batch.

    The determinant is divided by N^2, which only adds a constant to its logarithm, and epsilon keeps that
    logarithm finite. Labels without foreground leave it without a gradient: the first round needs `bce`.

    Parameters are as for `bce`.

    References
    ----------
    Xu, Cao, Kong, Wang, "L_DMI", NeurIPS 2019; Luo et al., AAAI 2022, eq. (6).
    """
    weight = weights(labels)
    total = weight.sum().clamp(min=1)
    p, y = torch.sigmoid(logits[:, 0].float()), (labels & 1).float()
    p_mean, y_mean, both = (p * weight).sum() / total, (y * weight).sum() / total, (p * y * weight).sum() / total
    determinant = both - p_mean * y_mean
    iou = both / (p_mean + y_mean - both + epsilon)
    return -torch.log(determinant.abs() + epsilon) + 1 - iou


LOSSES: dict[str, Loss] = {"bce": bce, "dmi_iou": dmi_iou}
