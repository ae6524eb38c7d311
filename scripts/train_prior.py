"""Train the prior that iGTT starts from, on random scenes (`images.scenes`) and nothing else. No real image is read.

    python scripts/train_prior.py [OUT]

Takes about an hour on one core; the same seed, steps and torch give the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from napari_metastructure.igtt.start import PRIOR, SPEC, USE
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.images.scenes import scene
from napari_metastructure.networks.build import build
from napari_metastructure.networks.checkpoint import save_model
from napari_metastructure.training.loop import make_schedule
from napari_metastructure.training.losses import cross_entropy, dice

LEARNING_RATE = 3e-3
DICE_WEIGHT = 0.5


class Scenes(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless scenes as network inputs and labels."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            image, mask = scene(USE.patch, self.rng)
            yield (
                torch.from_numpy(network_inputs(image, USE.inputs, USE.objects)),
                torch.from_numpy(mask.view(np.uint8)),
            )


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice, so that thin objects count."""
    return cross_entropy(logits, labels) + DICE_WEIGHT * dice(logits, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=PRIOR)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    network = build(SPEC, args.seed).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = make_schedule(optimizer, "onecycle", LEARNING_RATE, args.steps)
    batches = iter(DataLoader(Scenes(args.seed), batch_size=args.batch, num_workers=1, prefetch_factor=4))
    began, losses = time.perf_counter(), []
    for step in range(1, args.steps + 1):
        inputs, labels = next(batches)
        value = loss(network(inputs.to(memory_format=torch.channels_last)), labels)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
        if step % 100 == 0 or step == args.steps:
            print(f"{step} steps, {time.perf_counter() - began:.0f} s, loss {np.mean(losses[-100:]):.4f}", flush=True)
            save_model(args.out, network, SPEC, USE)
    weights = sum(p.numel() for p in network.parameters())
    # Half precision: the file ships with the package.
    save_model(args.out, network.half(), SPEC, USE)
    print(f"{args.out}: {weights} weights, {args.out.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    main()
