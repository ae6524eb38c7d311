"""Train the network that tells bright from dark objects, on random scenes and nothing else. No real image is read.

    python scripts/train_polarity.py [OUT] --cache FOLDER
    python scripts/train_polarity.py [OUT] --cache FOLDER --steps 0    # only measure and weigh again what is there

Half of the scenes of `images.crowded_scenes` are dark objects on a brighter ground. Held-out ones say how often the
network is right, and the prior (its sureness either way), kind by kind, and how much each should count: a logistic
regression without an offset, whose two weights are saved with the network. With ``--cache`` scenes are drawn once and
kept there, and so is what the prior says of the held-out ones: take another folder after a change to the scenes, the
seed or the prior. The same command gives the same weights, on the same torch and number of threads.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from napari_metastructure.igtt.polarity import WEIGHTS, Evidence, PolarityNetwork, answer, evidence, seen, with_set
from napari_metastructure.igtt.start import load_prior
from napari_metastructure.images.crowded_scenes import KINDS, PolarityScenes

SET = 20
"""Scenes of a set."""

LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.02
WARM_UP, DECAY = 60, 0.75
"""Steps until the full learning rate, and the last share of all steps over which it falls to 0."""

SIDE, TRAINED_AT = 256, 128
"""Pixels along a scene, and along what the network is trained on: windows of a scene, at that size."""

TWICE = ("tessellation", "trees", "discs", "crammed", "giants")
"""Kinds that are seen twice as often, because they are hardest."""

HELD_OUT = 1500

EVERY = 300


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw scenes: (N, Y, X) uint8 images, and (N, 2) int8 polarity (1 bright, -1 dark) and number of the kind."""
    scenes = PolarityScenes(SIDE, np.random.default_rng(seed), stock=min(600, max(60, count // 12)))
    images, facts = np.empty((count, SIDE, SIDE), np.uint8), np.empty((count, 2), np.int8)
    for i in range(count):
        image, objects, kind = scenes.example()
        low, high = np.percentile(image[::2, ::2], (0.02, 99.95))
        low = min(low, high - 1e-6)
        images[i] = np.clip((image - low) / (high - low) * 255, 0, 255).round()
        facts[i] = (1 if objects == "bright" else -1), KINDS.index(kind)
    return images, facts


def kept(cache: Path | None, name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Read drawn scenes from a folder, or draw them and keep them there."""
    if cache is None:
        return drawn(count, seed)
    files = cache / f"{name}.npy", cache / f"{name}_facts.npy"
    if not all(file.exists() for file in files):
        cache.mkdir(parents=True, exist_ok=True)
        for file, array in zip(files, drawn(count, seed), strict=True):
            np.save(file, array)
    images, facts = np.load(files[0], mmap_mode="r"), np.load(files[1])
    if len(images) != count:
        raise SystemExit(f"{files[0]} holds {len(images)} scenes, not {count}; choose another folder.")
    return images, facts


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches of changed windows of scenes, (N, 1, Y, X), and their polarities, 1 or -1."""

    def __init__(self, images: np.ndarray, facts: np.ndarray, batch: int, seed: int) -> None:
        self.images, self.facts, self.batch, self.seed = images, facts, batch, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng, generator = np.random.default_rng(self.seed), torch.Generator().manual_seed(self.seed)
        twice = np.flatnonzero(np.isin(self.facts[:, 1], [KINDS.index(kind) for kind in TWICE]))
        several = np.concatenate([np.arange(len(self.images)), twice])
        while True:
            order = rng.permutation(several)
            for first in range(0, len(order) - self.batch + 1, self.batch):
                chosen = order[first : first + self.batch]
                planes = changed(windows(self.images, chosen, rng), rng, generator)
                yield planes, torch.from_numpy(self.facts[chosen, 0].astype(np.float32))


def windows(images: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Cut a square out of each of some scenes, all of one size, turned at random: (N, 1, Y, X) from 0 to 1."""
    side = 8 * int(rng.integers(12, SIDE // 8 + 1))
    found = []
    for i in chosen:
        top, left = rng.integers(0, SIDE + 1 - side, 2)
        window = images[i, top : top + side, left : left + side]
        window = window.T if rng.random() < 0.5 else window
        window = window[::-1] if rng.random() < 0.5 else window
        window = window[:, ::-1] if rng.random() < 0.5 else window
        found.append(torch.from_numpy(window.astype(np.float32) / 255))
    return functional.interpolate(torch.stack(found)[:, None], (TRAINED_AT,) * 2, mode="bilinear", antialias=True)


def changed(x: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Change planes in ways that leave their objects as bright or dark as they are, and take away what misleads."""
    n, side = len(x), x.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, n).astype(np.float32)).view(-1, 1, 1, 1)

    def some(share: float) -> Tensor:
        return torch.from_numpy(rng.random(n) < share).view(-1, 1, 1, 1).float()

    def normal(*shape: int) -> Tensor:
        return torch.randn((n, 1, *shape), generator=generator)

    # Gamma, of the image or of its inverse.
    gamma, inverse = torch.exp(uniform(-0.6, 0.6)), some(0.5)
    x = torch.where(inverse > 0, 1 - (1 - x).clamp(0, 1) ** gamma, x.clamp(0, 1) ** gamma)
    if rng.random() < 0.25:
        x = blurred(x, rng.uniform(0.5, 2))
    # Cut off at either end: objects vary and backgrounds do not, but not in all images.
    values = x[:, :, ::5, ::5].flatten(1).sort(dim=1).values
    low, high = (
        values.gather(1, (uniform(*ends).view(-1, 1) * (values.shape[1] - 1)).long()).view(-1, 1, 1, 1)
        for ends in ((0, 0.4), (0.6, 1))
    )
    x = torch.where(some(0.6) > 0, ((x - low) / (high - low + 0.02)).clamp(0, 1), x)
    # Texture, mostly in what is bright or in what is dark.
    grain = normal(side, side)
    if rng.random() < 0.5:
        grain = functional.interpolate(normal(side // 4, side // 4), (side, side), mode="bilinear")
    where = torch.where(some(0.5) > 0, x, 1 - x).clamp(0, 1)
    x = x + some(0.4) * grain * uniform(0.02, 0.25) * where
    # Shading.
    shade = functional.interpolate(normal(3, 3), (side, side), mode="bicubic")
    x = x * torch.exp(some(0.5) * shade * uniform(0.1, 0.9))
    # One or two round bodies, brighter or darker than all else.
    axis = torch.linspace(0, 1, side)
    for _ in range(2):
        y0, x0, radius = uniform(0, 1), uniform(0, 1), torch.exp(uniform(-4, -1.6))
        away = ((axis.view(1, 1, -1, 1) - y0) ** 2 + (axis.view(1, 1, 1, -1) - x0) ** 2).sqrt()
        body = torch.sigmoid((radius - away) / (radius * uniform(0.1, 0.6)))
        x = x + some(0.25) * body * uniform(-2.5, 2.5)
    return x + some(0.5) * normal(side, side) * torch.exp(uniform(-4.5, -1.6))


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian."""
    kernel = torch.exp(-(torch.arange(-6, 7.0) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    x = functional.pad(x, (6,) * 4, "reflect")
    return functional.conv2d(functional.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, a plateau, a linear fall."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / max(1.0, DECAY * steps))


def by_kind(scores: np.ndarray, facts: np.ndarray) -> str:
    """Say how often scores are right, over all scenes and kind by kind."""
    right = np.sign(scores) == facts[: len(scores), 0]
    kinds = facts[: len(scores), 1]
    own = ", ".join(f"{kind} {right[kinds == i].mean():.3f}" for i, kind in enumerate(KINDS) if (kinds == i).any())
    return f"{right.mean():.3f} ({own})"


@torch.no_grad()
def answers(network: PolarityNetwork, images: np.ndarray) -> np.ndarray:
    """Ask the network about scenes at the size it is trained at."""
    network.eval()
    found = []
    for first in range(0, len(images), 50):
        x = torch.from_numpy(images[first : first + 50].astype(np.float32))[:, None]
        found.append(network(functional.interpolate(x, (TRAINED_AT,) * 2, mode="bilinear", antialias=True)).numpy())
    return np.concatenate(found)


def train(network: PolarityNetwork, batches: DataLoader, steps: int, held: tuple[np.ndarray, np.ndarray]) -> None:
    """Train a network; held-out scenes only say how it does."""
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    began, losses = time.perf_counter(), []
    for step, (planes, truth) in zip(range(steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(step, steps)
        network.train()
        loss = functional.softplus(-truth * network(planes)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % EVERY == 0 or step + 1 in (50, steps):
            right = by_kind(answers(network, held[0][:500]), held[1])
            seconds = time.perf_counter() - began
            print(
                f"{step + 1} of {steps} steps, {seconds:.0f} s, loss {np.mean(losses[-EVERY:]):.4f}, right in {right}",
                flush=True,
            )


def found_in(images: np.ndarray, network: PolarityNetwork, cache: Path | None) -> np.ndarray:
    """Find what speaks for bright objects in each scene, as iGTT asks: (N, 2), network and sureness."""
    network.eval()
    scenes = [image.astype(np.float32) for image in images]
    file = cache / "held_sureness.npy" if cache else None
    if file is not None and file.exists():
        return np.stack([[answer(network, seen(scene)) for scene in scenes], np.load(file)], axis=1)
    found = np.array(evidence(load_prior(), network, scenes, torch.device("cpu")))
    if file is not None:
        np.save(file, found[:, 1])
    return found


def fitted(found: np.ndarray, truth: np.ndarray) -> Tensor:
    """Fit how much network and sureness count: a logistic regression without an offset."""
    shares = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    x, y = torch.from_numpy(found.astype(np.float64)), torch.from_numpy(truth.astype(np.float64))
    optimizer = torch.optim.LBFGS([shares], max_iter=100)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.softplus(-y * (x @ shares)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return shares.detach().float()


def in_sets(scores: np.ndarray, truth: np.ndarray, share: float, rule: Callable[[np.ndarray], np.ndarray]) -> float:
    """Judge a rule on sets drawn from scenes, all of one kind but for a share: how many are right."""
    rng, right = np.random.default_rng(0), []
    kinds = [np.flatnonzero(truth > 0), np.flatnonzero(truth < 0)]
    others = round(share * SET)
    for number in range(2000):
        most, few = kinds if number % 2 else kinds[::-1]
        drawn = np.concatenate([rng.choice(most, SET - others), rng.choice(few, others)])
        right.append(np.mean(np.sign(rule(scores[drawn])) == truth[drawn]))
    return float(np.mean(right))


def weigh(network: PolarityNetwork, held: tuple[np.ndarray, np.ndarray], cache: Path | None) -> None:
    """Fit the shares of a network on every other held-out scene, and say how often the rest is right."""
    images, facts = held
    found = found_in(images, network, cache)
    network.shares.copy_(fitted(found[::2], facts[::2, 0]))
    found, facts = found[1::2], facts[1::2]
    scores = np.array([network.score(Evidence(*row)) for row in found])
    print(f"shares: network {network.shares[0]:.3f}, sureness {network.shares[1]:.3f}")
    for name, values in (("sureness", found[:, 1]), ("network", found[:, 0]), ("both", scores)):
        print(f"{len(values)} other scenes, {name}: right in {by_kind(values, facts)}")
    for share in (0, 0.1, 0.25, 0.5):
        before = in_sets(found[:, 1], facts[:, 0], share, lambda own: own + own.mean())
        after = in_sets(scores, facts[:, 0], share, with_set)
        print(f"sets of {SET}, {share} of the other kind: sureness and its mean {before:.3f}, `with_set` {after:.3f}")
    sums = np.abs([with_set(one)[0] for one in scores[:, None]])  # a plane alone is its own set
    for doubt in np.arange(0.25, 3.1, 0.25):
        below = sums < doubt
        right = (np.sign(scores) == facts[:, 0])[below].mean() if below.any() else np.nan
        print(f"score below {doubt:.2f}: {below.mean():.3f} of the scenes, right in {right:.3f}")


def save(network: PolarityNetwork, out: Path) -> None:
    """Write the weights in half precision: the file ships with the package."""
    out.write_bytes(to_bytes({name: value.half().contiguous() for name, value in network.state_dict().items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=14000)
    parser.add_argument("--cache", type=Path, help="folder that scenes are read from, or kept in")
    args = parser.parse_args()
    held = kept(args.cache, "held", HELD_OUT, args.seed + 1)
    torch.manual_seed(args.seed)
    network = PolarityNetwork()
    if args.steps:
        images, facts = kept(args.cache, "train", args.scenes, args.seed)
        loader = DataLoader(Batches(images, facts, args.batch, args.seed), None, num_workers=1, prefetch_factor=4)
        train(network, loader, args.steps, held)
        save(network, args.out)
    network.load_state_dict(load_file(args.out))
    weigh(network, held, args.cache)
    save(network, args.out)
    weights = sum(p.numel() for p in network.parameters())
    print(f"{args.out}: {weights} weights, {args.out.stat().st_size / 2**10:.0f} KB")


if __name__ == "__main__":
    main()
