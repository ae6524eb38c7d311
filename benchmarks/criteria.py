"""Whether what can be known without masks tells a better epoch of iGTT from a worse one.

    python benchmarks/criteria.py ../shared/data er mito nuclei --rounds 4 --seeds 0

Each run trains all its rounds. Of every epoch the mean Dice is taken, and beside it what a program without masks can
see: how well outlines and edges of the images agree (`candidates.Edges`), how sure P is on and around the foreground,
how much the masks resemble those of the start, and how much those of the epoch before. Printed are Spearman's
correlations over all epochs of all runs, each run less its own mean, and what a run gains that ends with the best epoch
of each criterion in place of the start.
"""

import numpy as np
from igtt_quality import load, parser_of
from scipy.stats import spearmanr

from napari_metastructure.igtt.candidates import Edges
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.levels import NEAR, dilated
from napari_metastructure.training.events import EpochFinished
from napari_metastructure.training.metrics import dice

CRITERIA = "edges", "sureness", "like the start", "like the epoch before"


def sureness(p: np.ndarray) -> float:
    """Mean |2P - 1| on and near the foreground."""
    near = dilated(p > 0.5, NEAR)
    return float(np.abs(2 * p[near] - 1).mean()) if near.any() else 0.0


def epochs_of(images: list[np.ndarray], truth: list[np.ndarray], config: IGTTConfig) -> np.ndarray:
    """Dice and the criteria, (epochs, 1 + criteria)."""
    edges = [Edges(image.astype(np.float32)) for image in images]
    rows: list[list[float]] = []
    start = before = None
    for event in iterate(images, config):
        if isinstance(event, EpochFinished):
            masks = [m.copy() for m in event.masks]
            start, before = start or masks, before or masks
            each = [
                (dice(m, t), e.score(m), sureness(p), dice(m, s > 0), dice(m, b > 0))
                for m, t, e, p, s, b in zip(masks, truth, edges, event.probabilities, start, before, strict=True)
            ]
            rows.append(np.mean(each, axis=0).tolist())
            before = masks
    return np.array(rows)


def main() -> None:
    """Print a line for each run, then the correlations and gains."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    runs = []
    for folder in args.folders:
        images, truth = load(args.data / folder, args.limit)
        for seed in args.seeds:
            config = IGTTConfig(rounds="always", epochs=args.rounds, stop_agreement=1, seed=seed)
            runs.append(epochs_of(images, truth, config))
            found = "; ".join(
                f"{what} {' '.join(f'{v:.3f}' for v in column)}"
                for what, column in zip(("Dice", *CRITERIA), runs[-1].T, strict=True)
            )
            print(f"{folder:13} seed {seed}: {found}", flush=True)
    centred = np.concatenate([run - run.mean(axis=0) for run in runs])
    print(f"always the last epoch: {np.mean([run[-1, 0] - run[0, 0] for run in runs]):+.4f} over the start")
    print(f"the best epoch by Dice: {np.mean([run[:, 0].max() - run[0, 0] for run in runs]):+.4f}")
    for k, what in enumerate(CRITERIA, 1):
        # What resembles the start most is the start, so those two choose among the rounds alone.
        first = 1 if what.startswith("like") else 0
        gained = [run[first + run[first:, k].argmax(), 0] - run[0, 0] for run in runs]
        print(
            f"{what}: correlation with Dice {spearmanr(centred[:, 0], centred[:, k])[0]:+.2f}; its best epoch "
            f"{np.mean(gained):+.4f} over the start, worst run {min(gained):+.4f}"
        )


if __name__ == "__main__":
    main()
