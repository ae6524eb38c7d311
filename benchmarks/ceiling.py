"""The ceiling: what the prior's network reaches on a folder once it has learned from the masks of the other images.

    python benchmarks/ceiling.py ../shared/data er mito nuclei --steps 400 --seeds 0

Supervised, so no rival of iGTT: it says how much there is to gain. Images are parted into two halves by whole frames
(one image into left and right); each half is predicted by a network that began with the weights of the prior and was
trained on the masks of the other. Beside it what iGTT says of the same images; in brackets both on the images that
`corrections.py --limit 4 --side 512` takes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from corrections import CROP, chosen, middle
from igtt_quality import load, parser_of

from napari_metastructure.baselines.methods import frame_of
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.polarity import polarities
from napari_metastructure.igtt.start import USE, load_prior
from napari_metastructure.images.files import list_images
from napari_metastructure.images.intensity import Polarity, network_inputs
from napari_metastructure.networks.predict import probability
from napari_metastructure.training.events import Finished
from napari_metastructure.training.losses import cross_entropy
from napari_metastructure.training.losses import dice as dice_loss
from napari_metastructure.training.metrics import dice

LEARNING_RATE = 1e-3
BATCH = 4
CPU = torch.device("cpu")


def halves(frames: list[str], rng: np.random.Generator) -> list[list[int]]:
    """Part images into two halves by whole frames, or one by one where all are of a single frame."""
    groups = frames if len(set(frames)) > 1 else [str(i) for i in range(len(frames))]
    names = rng.permutation(sorted(set(groups))).tolist()
    first = set(names[: len(names) // 2])
    return [[i for i, g in enumerate(groups) if (g in first) == side] for side in (True, False)]


def crop(inputs: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut a patch out of an image and its mask, turned and mirrored at random."""
    side = min(USE.patch[0], *(n // 32 * 32 for n in truth.shape))
    top, left = (int(rng.integers(n - side + 1)) for n in truth.shape)
    window = np.s_[..., top : top + side, left : left + side]
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    patch, mask = (np.rot90(a[window], turns, (-2, -1)) for a in (inputs, truth))
    return (patch[..., ::-1], mask[..., ::-1]) if mirrored else (patch, mask)


def trained(inputs: list[np.ndarray], truth: list[np.ndarray], steps: int, rng: np.random.Generator) -> torch.nn.Module:
    """Train the prior's network on masks."""
    network = load_prior().float().train()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        patches = [crop(inputs[i], truth[i], rng) for i in rng.integers(len(truth), size=BATCH)]
        least = min(mask.shape[-1] for _, mask in patches)
        x, y = (np.stack([a[..., :least, :least] for a in some]) for some in zip(*patches, strict=True))
        logits, labels = network(torch.from_numpy(x)), torch.from_numpy(y.astype(np.uint8))
        optimizer.zero_grad()
        (cross_entropy(logits, labels) + 0.5 * dice_loss(logits, labels)).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def cross_fitted(
    images: list[np.ndarray], truth: list[np.ndarray], frames: list[str], objects: list[Polarity], steps: int, seed: int
) -> list[np.ndarray]:
    """Predict each half by a network that was trained on the other."""
    if len(images) == 1:
        sides, masks = (np.array_split(found[0], 2, axis=1) for found in (images, truth))
        return [np.hstack(cross_fitted(list(sides), list(masks), ["left", "right"], objects * 2, steps, seed))]
    rng = np.random.default_rng(seed)
    inputs = [network_inputs(i.astype(np.float32), USE.inputs, o) for i, o in zip(images, objects, strict=True)]
    found: dict[int, np.ndarray] = {}
    parts = halves(frames, rng)
    for learned, held in (parts, parts[::-1]):
        network = trained([inputs[i] for i in learned], [truth[i] for i in learned], steps, rng)
        found |= {i: probability(network, inputs[i], USE.patch, CPU) > 0.5 for i in held}
    return [found[i] for i in range(len(images))]


def of_folder(data: Path, name: str, args: argparse.Namespace) -> str:
    """Describe the ceiling and iGTT's Dice of a folder."""
    place = data / ("er_frames" if name == "er_crop" else name)
    images, truth = load(place, None)
    frames = [frame_of(file.stem) for file in list_images([place / "images"])]
    if name == "er_crop":
        images, truth = [images[0][CROP]], [truth[0][CROP]]
    for event in iterate(images, IGTTConfig()):
        if isinstance(event, Finished):
            start = event.masks
    objects = polarities(load_prior(), [image.astype(np.float32) for image in images], CPU).objects
    few = chosen(len(images), 4)

    def scored(masks: list[np.ndarray]) -> np.ndarray:
        own = np.mean([dice(m, t) for m, t in zip(masks, truth, strict=True)])
        return np.array([own, np.mean([dice(middle(masks[i], 512), middle(truth[i], 512)) for i in few])])

    runs = [scored(cross_fitted(images, truth, frames, objects, args.steps, seed)) for seed in args.seeds]
    (start_all, start_few), (mean, mean_few), spread = scored(start), np.mean(runs, axis=0), np.std(runs, axis=0)[0]
    return f"iGTT {start_all:.3f} ({start_few:.3f}), ceiling {mean:.3f} +- {spread:.3f} ({mean_few:.3f})"


def main() -> None:
    """Print a line for each folder."""
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=400, help="of each half")
    args = parser.parse_args()
    for name in args.folders:
        print(f"{name:13} {of_folder(args.data, name, args)}", flush=True)


if __name__ == "__main__":
    main()
