"""Train the prior that iGTT starts from, on random scenes (`images.scenes`) and nothing else. No real image is read.

    python scripts/train_prior.py [OUT] --steps 20000
    python scripts/train_prior.py [OUT] --seconds 840 --device cuda --workers 16

With ``--seconds`` the number of steps is what fits into them, by the first hundred, and is printed: the same number
given as ``--steps`` gives the same weights, on the same device and torch. All is saved every 200 steps in OUT.state.pt;
the same command with ``--resume`` goes on from there, and from OUT itself (weights alone) where there is no such file.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from napari_metastructure.igtt.start import PRIOR, SPEC, USE
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.images.scenes import Scenes
from napari_metastructure.networks.build import build
from napari_metastructure.networks.device import mixed_precision
from napari_metastructure.networks.model_file import load_model, save_model
from napari_metastructure.training.losses import cross_entropy, dice

LEARNING_RATE = 3e-3
DICE_WEIGHT = 0.5
WARM_UP, DECAY = 300, 0.3
"""Steps until the full learning rate, and the last share of all steps over which it falls to 0."""

AVERAGED = 0.999
"""Weights are kept as an exponential average over steps."""

SMALLER = 0.3
"""Share of batches that are cut to a smaller side: group normalisation sees the crop, and images are of any size."""

HELD_OUT = 64
"""Scenes that are not trained on."""

EVERY = 200


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches of scenes, as network inputs and labels; each worker draws its own."""

    def __init__(self, batch: int, seed: int, first: int = 0) -> None:
        self.batch, self.seed, self.first = batch, seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = get_worker_info()
        rng = np.random.default_rng((self.seed, self.first, info.id if info else 0))
        scenes = Scenes(USE.patch[0], rng)
        while True:
            yield drawn(scenes, self.batch)


def drawn(scenes: Scenes, count: int) -> tuple[Tensor, Tensor]:
    """Draw scenes as (N, C, Y, X) inputs and (N, Y, X) labels."""
    pairs = [scenes.draw() for _ in range(count)]
    inputs = np.stack([network_inputs(image, USE.inputs, USE.objects) for image, _ in pairs])
    return torch.from_numpy(inputs), torch.from_numpy(np.stack([mask for _, mask in pairs]).view(np.uint8))


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus Dice, so that thin objects count."""
    return cross_entropy(logits, labels) + DICE_WEIGHT * dice(logits, labels)


def cropped(rng: np.random.Generator, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cut some batches to a smaller side, a multiple of 32."""
    if rng.random() >= SMALLER:
        return inputs, labels
    side = 32 * int(rng.integers(2, inputs.shape[-1] // 32))
    top, left = rng.integers(0, inputs.shape[-1] - side + 1, 2)
    rows, columns = slice(top, top + side), slice(left, left + side)
    return inputs[..., rows, columns], labels[..., rows, columns]


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, a plateau, a linear fall."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / max(1.0, DECAY * steps))


@torch.no_grad()
def scored(network: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """Score a network on held-out scenes: mean Dice at one half, and at the best of other cuts."""
    network.eval()
    p = torch.cat([torch.sigmoid(network(some).float())[:, 0] for some in inputs.split(8)])
    truth = labels.bool()
    some = truth.flatten(1).any(1)

    def mean(cut: float) -> float:
        found = p > cut
        both = (found & truth).flatten(1).sum(1)
        return float((2 * both / (found.flatten(1).sum(1) + truth.flatten(1).sum(1)))[some].mean())

    best = max(np.arange(0.2, 0.81, 0.05), key=mean)
    wrong = float((p[~some] > 0.5).float().mean())
    return f"held out: Dice {mean(0.5):.4f}, at {best:.2f} {mean(best):.4f}, found in empty ones {wrong:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=PRIOR)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--seconds", type=float, help="in place of --steps: as many as fit into them")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    device, file = torch.device(args.device), args.out.with_suffix(".state.pt")
    network = build(SPEC, args.seed)
    state: dict[str, Any] = {}
    if args.resume and file.exists():
        state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
    elif args.resume:
        network.load_state_dict(load_model(args.out)[0].float().state_dict())
    network = network.to(device).to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.01)
    if state:
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    first, steps = int(state.get("step", 0)), args.steps
    held = [part.to(device) for part in drawn(Scenes(USE.patch[0], np.random.default_rng(10**6)), HELD_OUT)]
    loader = DataLoader(Batches(args.batch, args.seed, first), None, num_workers=args.workers, prefetch_factor=4)
    batches, rng = iter(loader), np.random.default_rng((args.seed, first))
    began, losses, measured = time.perf_counter(), [], 0.0
    step = first
    while step < steps:
        if args.seconds and step - first == 20:
            measured = time.perf_counter()
        if args.seconds and step - first == 120:
            per_step = (time.perf_counter() - measured) / 100
            steps = step + int((args.seconds - (time.perf_counter() - began)) / per_step)
            print(f"{per_step:.3f} s a step: --steps {steps}", flush=True)
        inputs, labels = (part.to(device, non_blocking=True) for part in cropped(rng, *next(batches)))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(step, steps)
        network.train()
        with mixed_precision(device):
            value = loss(network(inputs.contiguous(memory_format=torch.channels_last)), labels)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        losses.append(value.detach())
        step += 1
        if step % EVERY == 0 or step == steps:
            seconds, mean = time.perf_counter() - began, float(torch.stack(losses[-EVERY:]).mean())
            print(
                f"{step} of {steps} steps, {seconds:.0f} s, loss {mean:.4f}, {scored(average.module, *held)}",
                flush=True,
            )
            save_model(args.out, average.module, SPEC, USE)
            torch.save(
                {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                },
                file,
            )
    # Half precision: the file ships with the package.
    save_model(args.out, average.module.half(), SPEC, USE)
    weights = sum(p.numel() for p in network.parameters())
    print(f"{args.out}: {weights} weights, {args.out.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    main()
