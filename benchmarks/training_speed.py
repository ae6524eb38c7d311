"""Images per second in training, and what share of a step goes to drawing patches.

python benchmarks/training_speed.py [--device cpu] [--networks light-unet unet] [--augment flips full]

Simulated images of 256 x 256 pixels, batches of 4, one warm-up epoch that does not count.
"""

import argparse

import numpy as np
import torch

from napari_metastructure.images.simulate import nuclei
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.events import TrainEpoch
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.train import train

BATCH = 4


def measure(network: str, device: str, augment: str, steps: int) -> None:
    fields = [nuclei((256, 256), np.random.default_rng(seed)) for seed in range(8)]
    pairs = pairs_of([image for image, _ in fields], [mask for _, mask in fields])
    config = TrainConfig(
        network=network, device=device, augment=augment, epochs=2, steps_per_epoch=steps, batch_size=BATCH,
        validation_fraction=0,
    )  # fmt: skip
    *_, last = (event for event in train(pairs, config) if isinstance(event, TrainEpoch))
    rate, share = BATCH * steps / last.seconds, last.seconds_data / last.seconds
    print(f"{network:12} {augment:6} {rate:8.2f} images/s, {share:6.2%} of it drawing patches", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--networks", nargs="+", default=["light-unet", "unet"])
    parser.add_argument("--augment", nargs="+", default=["flips", "full"])
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, device {options.device}; unet: resnet34")
    for network in options.networks:
        for augment in options.augment:
            measure(network, options.device, augment, options.steps)


if __name__ == "__main__":
    main()
