"""What two processes do with the library for `test_distributed`, one after the other; each leaves what it found."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.networks.build import NetworkSpec, build, refresh_statistics
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.distributed import Ranks, join
from napari_metastructure.training.events import BatchFinished, Saved
from napari_metastructure.training.losses import LOSSES
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.train import train

CPU = torch.device("cpu")

STEPS = [("light-unet", loss) for loss in ("bce", "dice", "iou", "dmi_iou")] + [
    ("unet", "bce"),
    ("deeplabv3plus", "bce"),
]
"""Networks and losses; the last two have batch normalisation."""

TRAIN = TrainConfig(
    epochs=3, steps_per_epoch=4, batch_size=3, base_channels=4, patch_size=64, device="cpu", validation_fraction=0.4
)

IGTT = IGTTConfig(
    epochs=2, steps_per_epoch=3, batch_size=2, patch_size=64, device="cpu", stop_agreement=1, rounds="always"
)


def blobs(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Noisy images of 64 x 64 pixels with bright discs, and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    images, masks = [], []
    for _ in range(count):
        mask = np.any([(y - b) ** 2 + (x - a) ** 2 < 60 for a, b in rng.uniform(8, 56, (4, 2))], axis=0)
        images.append((60 + 100 * mask + rng.normal(0, 8, mask.shape)).clip(0, 255).astype(np.float32))
        masks.append(mask.astype(np.uint8))
    return images, masks


def training_pairs():
    """The same as a training set; half of the pixels of some are unlabelled."""
    images, masks = blobs(5)
    for mask in masks[::2]:
        mask[:32] = 255
    return pairs_of(images, masks)


def network_step(ranks: Ranks, kind: str, loss: str):
    """Gradients and buffers of a network after a step on three patches, in double precision."""
    spec = NetworkSpec(architecture=kind, encoder="resnet18", base_channels=4)
    network = build(spec, 0).double().train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # drawn by each process for itself
    network = ranks.synchronised(network, CPU)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 1, 32, 32, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 1).to(torch.uint8)
    y[0, :25] = 255
    first, last = ranks.share(3)
    parallel = ranks.parallel(network, CPU)
    with ranks.statistics(CPU):
        logits = parallel(x[first:last])
    more = {} if ranks.alone else {"total": ranks.total}
    LOSSES[loss](logits, y[first:last], **more).backward()
    with torch.no_grad(), ranks.statistics(CPU):
        refresh_statistics(network, [x[first:last], x.flip(3)[first:last]])
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients, dict(network.named_buffers())


def run(folder: Path, ranks: Ranks) -> dict[object, object]:
    """Train, segment, stop, pause and go on."""
    found: dict[object, object] = {}
    events = list(train(training_pairs(), TRAIN, folder=folder / "whole", ranks=ranks))
    found["train"], found["scores"] = events[-1].model.network.state_dict(), events[-1].scores
    found["losses"] = [event.loss for event in events if isinstance(event, BatchFinished)]
    found["saved"] = [event.path.name for event in events if isinstance(event, Saved)]
    found["steps"] = {step: network_step(ranks, *step) for step in STEPS}
    for start in ("prior", "fusion"):
        *_, found["igtt", start] = iterate(blobs(5)[0], IGTT.model_copy(update={"start": start}), ranks=ranks)
    for name in ("one goes on", "two go on"):
        found["stopped at"] = stopped(train, training_pairs(), TRAIN, folder / name, ranks)
    *_, last = train(training_pairs(), TRAIN, folder=folder / "two go on", resume=True, ranks=ranks)
    found["resumed"] = last.model.network.state_dict()
    for name in ("i", "j"):
        stopped(iterate, blobs(5)[0], IGTT, folder / name, ranks)
    *_, found["igtt resumed"] = iterate(blobs(5)[0], IGTT, folder=folder / "j", resume=True, ranks=ranks)
    found["paused"] = paused(ranks)
    found["shared"] = ranks.shared_out(5, lambda mine: [n * n for n in mine])
    try:
        ranks.shared_out(5, lambda mine: [piece(n) for n in mine])
    except InputError as error:
        found["refused"] = str(error)
    return found


def stopped(job, data, config, folder: Path, ranks: Ranks) -> tuple[int, int]:
    """Stop a run from the second process in its second epoch; return the last batch that ended here."""
    control, at = Control(), (0, 0)
    for event in job(data, config, control, folder=folder, ranks=ranks):
        if isinstance(event, BatchFinished):
            at = event.epoch, event.batch
            if ranks.rank == 1 and at == (2, 1):
                control.stop()
    return at


def paused(ranks: Ranks) -> float:
    """Pause in the second process, which goes on once both have come there; return how long it took here."""
    control = Control()
    if not ranks.first:
        control.pause()
        threading.Timer(0.3, control.resume).start()
    ranks.checkpoint(control)
    return control.paused_seconds


def piece(number: int) -> int:
    if number == 3:
        raise InputError("Piece 3 cannot be done.")
    return number


if __name__ == "__main__":
    mine = join()
    result = run(Path(sys.argv[1]), mine)
    torch.save(result, Path(sys.argv[1]) / f"found-{mine.rank}.pt")
    exec(sys.argv[2])  # the command, in which the second process fails
