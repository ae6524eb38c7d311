"""Dice after 0, 2, 3, 10 and 30 strokes of a simulated user: steering, against random forests and against the strokes.

    python benchmarks/corrections.py ../shared/data wbc tem_myelin er_crop --seeds 0 1 2 --limit 10
    python benchmarks/corrections.py ../shared/data wbc tem_myelin neurons --meant --seeds 0 1 2

The user paints one stroke of each class, then again and again a disc of radius 5 at the deepest point of one of the
three largest errors (the truth's class, inside the disc), in at most three images of a folder; the method answers after
2, 3, 6, 10, 20 and 30 strokes. Each method has a user of its own, who looks at its masks alone. Masks show where to
paint; a method sees the strokes and nothing else of them. ``er_crop`` is a part of the frame in ``er_frames``.

Beside it, for comparison, one that sees masks and no strokes: ``masks``, a random forest on whole masks of the images
with strokes. `ceiling.py` prints what a network reaches that was trained on the masks of other images.

    python benchmarks/corrections.py ../shared/data nuclei em --timing

prints how long features, the first sign (the image painted on) and a round (all images) take.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from igtt_quality import load
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import Run, iterate
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.igtt.steering import Steering
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import EpochFinished
from napari_metastructure.training.metrics import dice

COUNTS = (0, 2, 3, 10, 30)
ROUNDS = (2, 3, 6, 10, 20, 30)
RADIUS = 5
CROP = np.s_[200:584, 500:884]
NEAR = 64

Strokes = Mapping[int, np.ndarray]
Method = Callable[[Strokes, Sequence[int]], list[np.ndarray]]


class Folder(NamedTuple):
    """Images of a folder, their masks, and what iGTT says of them before any stroke."""

    images: list[np.ndarray]
    truth: list[np.ndarray]
    start: list[np.ndarray]
    labels: PseudoLabels


def read(data: Path, name: str, limit: int | None, side: int | None) -> Folder:
    """Read some images of a folder, evenly spread over it, the middle of large ones, and run iGTT on them."""
    place = data / ("er_frames" if name == "er_crop" else name)
    images, truth = load(place, None)
    at = chosen(len(images), limit)
    cut = CROP if name == "er_crop" else np.s_[:, :]
    images, truth = ([middle(found[i][cut], side) for i in at] for found in (images, truth))
    for event in iterate(images, IGTTConfig()):
        if isinstance(event, EpochFinished):
            start = event
    run = Run(images, IGTTConfig(), Control(), None, None)
    run._turn_upright(run._polarities())
    labels = run._labels(list(start.probabilities))
    labels.begin()
    return Folder(run.given, truth, [m.copy() for m in start.masks], labels)


def chosen(count: int, limit: int | None) -> list[int]:
    """Choose some of so many images, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(limit or count, count)).astype(int)).tolist()


def middle(image: np.ndarray, side: int | None) -> np.ndarray:
    """Cut out the middle of an image that is larger."""
    if side is None:
        return image
    return image[tuple(slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for n in image.shape)]


# ---- Methods: from strokes to the masks of some images ---------------------------------------------------


def steering(folder: Folder, start_weight: float = 1.0) -> Method:
    """Ours: `Steering` on the start's probabilities, cut as a run cuts them; by strokes alone with weight 0."""
    start = [s.astype(np.float32) for s in folder.labels.start]
    model = Steering(folder.images, start, start_weight=start_weight)

    def answer(strokes: Strokes, which: Sequence[int]) -> list[np.ndarray]:
        labels = folder.labels
        found = [labels._within(i, p) for i, p in zip(which, model.answer(strokes, which), strict=True)]
        return [labels._search(p, i)[0] if start_weight else p > 0.5 for i, p in zip(which, found, strict=True)]

    return answer


def forest(folder: Folder, start: bool = False) -> Method:
    """A random forest on multi-scale features, of the strokes' pixels alone or beside as many of the start's masks."""
    seen = [multiscale_basic_features(i.astype(np.float32), sigma_min=1, sigma_max=16) for i in folder.images]

    def answer(strokes: Strokes, which: Sequence[int]) -> list[np.ndarray]:
        x = np.concatenate([seen[i][s <= 1] for i, s in strokes.items()])
        y = np.concatenate([s[s <= 1] for s in strokes.values()])
        if start:
            rng = np.random.default_rng(0)
            at = [rng.integers(0, m.size, len(y) // len(seen) + 1) for m in folder.start]
            x = np.concatenate([x, *(f.reshape(-1, f.shape[-1])[a] for f, a in zip(seen, at, strict=True))])
            y = np.concatenate([y, *(m.ravel()[a] for m, a in zip(folder.start, at, strict=True))])
        trees = RandomForestClassifier(50, max_depth=10, random_state=0).fit(x, y)
        return [trees.predict(seen[i].reshape(-1, x.shape[1])).reshape(seen[i].shape[:2]) for i in which]

    return answer


def whole_masks(folder: Folder) -> Method:
    """A random forest on every pixel of the images with strokes, by the masks."""
    seen = [multiscale_basic_features(i.astype(np.float32), sigma_min=1, sigma_max=16) for i in folder.images]

    def answer(strokes: Strokes, which: Sequence[int]) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        at = {i: rng.integers(0, folder.truth[i].size, 20000 // len(strokes)) for i in strokes}
        x = np.concatenate([seen[i].reshape(-1, seen[i].shape[-1])[a] for i, a in at.items()])
        y = np.concatenate([folder.truth[i].ravel()[a] for i, a in at.items()])
        trees = RandomForestClassifier(50, min_samples_leaf=5, random_state=0).fit(x, y)
        return [trees.predict(seen[i].reshape(-1, x.shape[1])).reshape(seen[i].shape[:2]) for i in which]

    return answer


METHODS: dict[str, Callable[[Folder], Method]] = {
    "steering": steering,
    "steering alone": lambda folder: steering(folder, start_weight=0.0),
    "forest": forest,
    "forest+start": lambda folder: forest(folder, start=True),
    "masks": whole_masks,
    "strokes": lambda folder: lambda strokes, which: [folder.start[i] for i in which],
}


# ---- The user ---------------------------------------------------------------------------------------------


class User:
    """Paints where masks are wrong."""

    def __init__(self, truth: Sequence[np.ndarray], images: Sequence[int], seed: int) -> None:
        self.truth, self.images, self.rng = truth, list(images), np.random.default_rng(seed)
        self.strokes: dict[int, np.ndarray] = {}
        self.count = 0

    def paint(self, masks: list[np.ndarray], wanted: int | None = None, images: Sequence[int] | None = None) -> None:
        """Paint one stroke, of a class if one is ``wanted``, into the strokes and the masks; none if all is right."""
        images = self.images if images is None else images
        self.count += 1
        found = []
        for i in images:
            free = self.strokes[i] == UNLABELLED if i in self.strokes else True
            for value in (0, 1) if wanted is None else (wanted,):
                pieces, _ = ndi.label((masks[i] != self.truth[i]) & (self.truth[i] == value) & free)
                sizes = np.bincount(pieces.ravel())[1:]
                found += [(sizes[k], i, value, pieces == k + 1) for k in np.argsort(sizes)[::-1][:3]]
        if found:
            found.sort(key=lambda error: -error[0])
            _, i, value, region = found[self.rng.integers(min(3, len(found)))]
        elif wanted is not None:
            i, value = images[self.rng.integers(len(images))], wanted
            region = self.truth[i] == value
        if not found and (wanted is None or not region.any()):
            return
        depth = ndi.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        beside = y + self.rng.integers(-2, 3), x + self.rng.integers(-2, 3)
        if all(0 <= a < n for a, n in zip(beside, depth.shape, strict=True)) and region[beside]:
            y, x = beside
        rows, columns = np.ogrid[: depth.shape[0], : depth.shape[1]]
        disc = ((rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2) & (self.truth[i] == value)
        self.strokes.setdefault(i, np.full(depth.shape, UNLABELLED, np.uint8))[disc] = value
        masks[i] = np.where(disc, value, masks[i])


def simulate(folder: Folder, method: Method, seed: int, most: int) -> dict[int, dict[str, float]]:
    """Paint and answer in turn; score each of `COUNTS`."""
    order = np.random.default_rng(100 + seed).permutation(len(folder.truth))
    touched = sorted(order[: min(3, max(1, len(order) // 2))].tolist())
    user, masks = User(folder.truth, touched, seed), [m.copy() for m in folder.start]
    result, seconds = {0: scores(folder, masks, masks, user)}, []
    for count in (c for c in ROUNDS if c <= most):
        before = [m.copy() for m in masks]
        while user.count < count:
            user.paint(before, (1, 0)[user.count] if user.count < 2 else None)
        which = range(len(masks)) if count in COUNTS else touched
        seconds.append(_answer(method, user, masks, which))
        if count in COUNTS:
            pasted = float(np.mean([dice(before[i], folder.truth[i]) for i in touched]))
            result[count] = scores(folder, masks, folder.start, user) | {"pasted": pasted, "seconds": seconds[-1]}
    return result


def meant(folder: Folder, method: Method, seed: int) -> dict[int, dict[str, float]]:
    """Show which objects are meant: three strokes of each class in one image, ten in three."""
    order = np.random.default_rng(100 + seed).permutation(len(folder.truth)).tolist()
    result = {0: scores(folder, folder.start, folder.start, User(folder.truth, order[:1], seed))}
    for images, each in ((order[:1], 3), (order[:3], 10)):
        user, masks = User(folder.truth, images, seed), [m.copy() for m in folder.start]
        for number in range(2 * each):
            user.paint(masks, (number + 1) % 2, [images[number // 2 % len(images)]])
        _answer(method, user, masks, range(len(masks)))
        result[each] = scores(folder, masks, folder.start, user)
    return result


def _answer(method: Method, user: User, masks: list[np.ndarray], which: Sequence[int]) -> float:
    """Put the answer to a user's strokes into the masks; return the seconds an image took."""
    began = time.perf_counter()
    for i, mask in zip(which, method(user.strokes, list(which)), strict=True):
        painted = user.strokes.get(i)
        masks[i] = mask if painted is None else np.where(painted <= 1, painted, mask)
    return (time.perf_counter() - began) / len(which)


def scores(folder: Folder, masks: Sequence[np.ndarray], start: Sequence[np.ndarray], user: User) -> dict[str, float]:
    """Dice of all images, those with strokes (to come), those without; loss of one without, and far from strokes."""
    gained = [dice(m, t) - dice(s, t) for m, s, t in zip(masks, start, folder.truth, strict=True)]
    found = [dice(m, t) for m, t in zip(masks, folder.truth, strict=True)]
    rest = [i for i in range(len(found)) if i not in user.images]
    worst = min((gained[i] for i in rest), default=0.0)
    far = 0.0
    for i, strokes in user.strokes.items():
        away = ndi.distance_transform_edt(strokes > 1) > NEAR
        if folder.truth[i][away].any():
            far = min(far, dice(masks[i][away], folder.truth[i][away]) - dice(start[i][away], folder.truth[i][away]))
    return {
        "touched": float(np.mean([found[i] for i in user.images])),
        "all": float(np.mean(found)),
        "untouched": float(np.mean([found[i] for i in rest])) if rest else float("nan"),
        "gain": float(np.mean([gained[i] for i in rest])) if rest else float("nan"),
        "worst": min(worst, 0.0),
        "far": far,
    }


def timing(name: str, folder: Folder) -> None:
    """Print the seconds of the features of all images, of the first sign and of a round after ten strokes."""
    user, masks = User(folder.truth, [0], 0), [m.copy() for m in folder.start]
    for number in range(10):
        user.paint(masks, (number + 1) % 2)
    began = time.perf_counter(), time.process_time()
    model = Steering(folder.images, [s.astype(np.float32) for s in folder.labels.start])
    said = f"features {_since(began)}"
    for what, which in (("first sign", [0]), (f"round of {len(masks)} images", range(len(masks)))):
        began = time.perf_counter(), time.process_time()
        model.answer(user.strokes, which)
        said += f"; {what} {_since(began)}"
    print(f"{name:13} {'x'.join(map(str, masks[0].shape))}: {said}; load {os.getloadavg()[0]:.1f}", flush=True)


def _since(began: tuple[float, float]) -> str:
    return f"{time.perf_counter() - began[0]:.2f} s ({time.process_time() - began[1]:.2f} s of a core)"


def main() -> None:
    """Print a line for each folder and method: means over the seeds, by the number of strokes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--most", type=int, default=30, help="strokes in a set at most")
    parser.add_argument("--limit", type=int, help="so many images of a folder, evenly spread over it")
    parser.add_argument("--side", type=int, help="the middle of images that are larger")
    parser.add_argument("--meant", action="store_true", help="3 strokes of each class in one image, then 10 in three")
    parser.add_argument("--timing", action="store_true", help="seconds instead of Dice")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    for name in args.folders:
        folder = read(args.data, name, args.limit, args.side)
        if args.timing:
            timing(name, folder)
            continue
        for method in args.method:
            answer = METHODS[method](folder)
            runs = [
                meant(folder, answer, s) if args.meant else simulate(folder, answer, s, args.most) for s in args.seeds
            ]
            counts = list(runs[0])
            results.append({"folder": name, "method": method, "seeds": args.seeds, "runs": runs})
            print(f"{name:13} {method:14} strokes {' '.join(map(str, counts))}", end="")
            for what in ("all", "touched", "pasted", "untouched", *(["gain"] if args.meant else [])):
                values = [np.mean([run[c].get(what, np.nan) for run in runs]) for c in counts]
                if not np.isnan(values).all():
                    print(f"; {what} " + " ".join("." * 4 if np.isnan(v) else f"{v:.3f}" for v in values), end="")
                    if len(runs) > 1:
                        spread = [np.std([run[c].get(what, np.nan) for run in runs]) for c in counts[1:]]
                        print(" (seeds: sd " + " ".join(f"{v:.3f}" for v in spread) + ")", end="")
            lost = [min(run[c][what] for run in runs for c in counts) for what in ("worst", "far")]
            print(f"; most lost {lost[0]:.3f}, far from strokes {lost[1]:.3f}", end="")
            seconds = [run[c]["seconds"] for run in runs for c in counts if "seconds" in run[c]]
            print(f"; {np.mean(seconds):.2f} s an image" if seconds else "", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    sys.exit(main())
