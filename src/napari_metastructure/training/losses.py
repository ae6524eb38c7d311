"""Losses on logits and labels; pixels of 255 (unlabelled) are left out.

Binary networks have one channel of logits, that of the foreground; networks of M > 2 classes have one channel each.
Labels are class codes, 0 to M - 1. Each loss is a function of sums over all pixels of a batch; where several processes
have a part of it each, ``total`` adds their sums up, so that all have the loss of the whole.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name the field uses

from napari_metastructure.labels import UNLABELLED

Loss = Callable[..., Tensor]

Total = Callable[[Tensor], Tensor]


def alone(sums: Tensor) -> Tensor:
    """Return sums over a batch that no other process has a part of."""
    return sums


LOCKED = 2
"""Added to 0 or 1 where the user corrected a binary label: these pixels weigh `LOCKED_WEIGHT` times."""
LOCKED_WEIGHT = 10.0

EPSILON = 1e-6
"""Added to what is divided by, or a logarithm taken of."""


def weights(labels: Tensor, binary: bool = True) -> Tensor:
    """Return the weight of each pixel, float32: 0 unlabelled, 1 labelled, `LOCKED_WEIGHT` corrected by the user."""
    weight = (labels != UNLABELLED).float()
    if not binary:
        return weight
    return weight + (LOCKED_WEIGHT - 1) * ((labels >= LOCKED) & (labels != UNLABELLED)).float()


def cross_entropy(logits: Tensor, labels: Tensor, *, total: Total = alone) -> Tensor:
    """Average the cross-entropy (binary for one channel of logits) over the labelled pixels.

    Parameters
    ----------
    logits : (N, 1, Y, X) or (N, M, Y, X) float tensor
    labels : (N, Y, X) uint8 tensor
        0 to M - 1, 255 = unlabelled; in binary labels 2 and 3 are 0 and 1 that the user locked.
    total : callable
        Adds up a tensor over all processes that have a part of the batch, with gradients.

    Returns
    -------
    scalar tensor
        0 (with a gradient of 0) if nothing is labelled.
    """
    binary = logits.shape[1] == 1
    weight = weights(labels, binary)
    if binary:
        losses = F.binary_cross_entropy_with_logits(logits[:, 0].float(), (labels & 1).float(), reduction="none")
    else:
        known = labels.long().masked_fill(labels == UNLABELLED, 0)
        losses = F.cross_entropy(logits.float(), known, reduction="none")
    loss, pixels = total(torch.stack([(losses * weight).sum(), weight.sum()]))
    return loss / pixels.clamp(min=1)


def dice(logits: Tensor, labels: Tensor, *, total: Total = alone) -> Tensor:
    """Average the soft ``1 - 2 sum(p y) / (sum p + sum y)`` over the classes the batch holds.

    Of a binary network only the foreground counts. Parameters are as for `cross_entropy`.

    References
    ----------
    Milletari, Navab, Ahmadi, "V-Net", 3DV 2016.
    """
    both, p, y, present = _overlaps(logits, labels, total)
    return _mean(1 - (2 * both + EPSILON) / (p + y + EPSILON), present)


def iou(logits: Tensor, labels: Tensor, *, total: Total = alone) -> Tensor:
    """Average ``1 - sum(p y) / sum(p + y - p y)``, the second term of eq. (6), as `dice` does.

    References
    ----------
    Rahman and Wang, "Optimizing intersection-over-union in deep neural networks", ISVC 2016.
    """
    both, p, y, present = _overlaps(logits, labels, total)
    return _mean(1 - (both + EPSILON) / (p + y - both + EPSILON), present)


def dmi_iou(logits: Tensor, labels: Tensor, *, total: Total = alone) -> Tensor:
    """Compute L_DMI + L_IOU of eq. (6) over all labelled pixels of the batch.

    L_DMI is ``-log |det Q|`` of the joint distribution Q of prediction and label, M x M. Dividing Q by N only adds
    a constant to the logarithm, and `EPSILON` keeps it finite. Binary labels without foreground leave it without
    a gradient. Parameters are as for `cross_entropy`.

    References
    ----------
    Xu, Cao, Kong, Wang, "L_DMI", NeurIPS 2019; Luo et al., AAAI 2022, eq. (6).
    """
    both, p, y, present = _overlaps(logits, labels, total)
    if logits.shape[1] == 1:
        determinant = both[0] - p[0] * y[0]
    else:
        probabilities, onehot, weight = _soft(logits, labels)
        pixels = (weight / total(weight.sum()).clamp(min=1)).flatten()
        joint = total(probabilities.transpose(0, 1).flatten(1) * pixels @ onehot.transpose(0, 1).flatten(1).T)
        # A class the batch lacks would make it 0: its row and column become those of the identity.
        both_there = present[:, None] & present
        determinant = torch.linalg.det(torch.where(both_there, joint, torch.diag((~present).to(joint))))
    return -torch.log(determinant.abs() + EPSILON) + _mean(1 - both / (p + y - both + EPSILON), present)


def _soft(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and labels as (N, K, Y, X), and the weights (N, 1, Y, X)."""
    if logits.shape[1] == 1:
        return torch.sigmoid(logits.float()), (labels & 1).float()[:, None], weights(labels)[:, None]
    known = labels.long().masked_fill(labels == UNLABELLED, 0)
    onehot = F.one_hot(known, logits.shape[1]).permute(0, 3, 1, 2).float()
    return torch.softmax(logits.float(), 1), onehot, weights(labels, binary=False)[:, None]


def _overlaps(logits: Tensor, labels: Tensor, total: Total) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means over the labelled pixels of p y, p and y, each (K,), and which classes there are."""
    p, y, weight = _soft(logits, labels)
    sums = [(value * weight).sum((0, 2, 3)) for value in (p * y, p, y)]
    *sums, pixels = total(torch.cat([*sums, weight.sum()[None]])).split([*map(len, sums), 1])
    means = [each / pixels.clamp(min=1) for each in sums]
    present = torch.ones_like(means[2], dtype=torch.bool) if logits.shape[1] == 1 else means[2] > 0
    return means[0], means[1], means[2], present


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum() / present.sum().clamp(min=1)


LOSSES: dict[str, Loss] = {
    "bce": cross_entropy,
    "cross_entropy": cross_entropy,
    "dice": dice,
    "iou": iou,
    "dmi_iou": dmi_iou,
}
