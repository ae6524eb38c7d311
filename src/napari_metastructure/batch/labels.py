"""Label noise and densities of label files as units of a batch; the commands do the same, one file after the other."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from napari_metastructure import __version__
from napari_metastructure.batch import label_set
from napari_metastructure.batch.recipe import Density, Noise
from napari_metastructure.batch.work_units import Checkpoint, Done, Plan, Steps, Unit
from napari_metastructure.errors import InputError, listed
from napari_metastructure.images.files import fingerprint, noting, output_stems
from napari_metastructure.images.image import PIXEL, Image, convert, parse_length, snapped, stack
from napari_metastructure.images.writing import remove, write_tiff
from napari_metastructure.labels.density import Kernel, check_bandwidth, densities
from napari_metastructure.labels.recipes import Recipe, apply
from napari_metastructure.labels.structure import distance, structure_retained
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.labels.verdict import verdict
from napari_metastructure.training.yaml_file import write_yaml

FORMAT = "napari-metastructure-noise/1"


def usable(paths: Sequence[Path], reading: str) -> tuple[label_set.LabelSet, dict[Path, str]]:
    """Look at the numbers of all label files; return those that can be used, and why others cannot.

    Raises
    ------
    InputError
        If none can, or the numbers of the files together can be meant in more ways than one.
    """
    try:
        return label_set.LabelSet(paths, reading), {}
    except label_set.UnusableFiles as error:
        bad = error.bad
        if len(bad) == len(paths):
            raise
    found, more = usable([path for path in paths if path not in bad], reading)
    return found, {**{path: str(why) for path, why in bad.items()}, **more}


# ---- noise


def plan_noise(task: Noise, paths: Sequence[Path], out: Path) -> Plan:
    """Make a unit of each label file, and noise.yaml of all of them.

    Raises
    ------
    InputError
        If the recipe does not fit the labels, or the folder holds them.
    """
    check_apart(out, paths)
    names = dict(zip(paths, output_stems(paths), strict=True))
    clean, refused = usable(paths, task.reading)
    closed = task.recipe.transition(clean.classes)
    units = []
    for index, (path, first) in enumerate(zip(clean.paths, clean.first_planes, strict=True)):
        file, target = clean.one(index), out / f"{names[path]}.tif"
        args = (file, task.recipe, task.seed, first, target)
        units.append(Unit(str(path), (path,), (target,), draw_file, args, f"{file.meaning} {first}"))

    def finish(made: Sequence[dict[str, Any]]) -> list[str]:
        remove([out / label_set.NOISE_FILE])
        return describe(out, task.recipe, task.seed, clean.reading, clean.classes, closed, made)

    return Plan(units, refused, finish)


def check_apart(out: Path, paths: Sequence[Path]) -> None:
    """Refuse a folder of noisy labels that holds the clean ones, of the same names."""
    if os.path.realpath(out) in {os.path.dirname(os.path.realpath(path)) for path in paths}:
        raise InputError(f"{out} holds the clean labels, and noisy ones of the same names; choose another folder.")


def draw_file(
    checkpoint: Checkpoint, file: label_set.LabelFile, recipe: Recipe, seed: int, first: int, target: Path
) -> Steps:
    """Write the noisy labels of a file."""
    checkpoint()
    yield 0.0
    return Done(facts=draw(file, recipe, seed, first, target)[2])


def draw(
    file: label_set.LabelFile, recipe: Recipe, seed: int, first: int, target: Path
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Write the noisy labels of a file; return the clean ones, the noisy ones, and what `describe` takes.

    Parameters
    ----------
    file : LabelFile
    recipe : Recipe
    seed : int
    first : int
        Number of its first plane among those of all files.
    target : Path
    """
    pixels, like = file.read()
    noisy = apply(recipe, pixels, seed, file.meaning.classes, first)
    image = stack(list(noisy), like)
    counts = count_pairs(pixels, noisy, file.meaning.classes)
    facts = {"name": target.name, "input": fingerprint(file.path), "first_plane": first, "planes": len(pixels)}
    write_tiff(target, image.data, image.axes, image.scale, image.units)
    return pixels, noisy, {**facts, "counts": counts.tolist()}


def describe(
    out: Path,
    recipe: Recipe,
    seed: int,
    reading: str,
    classes: Sequence[int],
    closed: TransitionMatrix | None,
    made: Sequence[dict[str, Any]],
) -> list[str]:
    """Write noise.yaml; return the verdict in sentences.

    Parameters
    ----------
    closed : TransitionMatrix or None
        In closed form, if there is one.
    made : sequence of dict
        What `draw` gave of each file; of one to be drawn its name.
    """
    shape = len(classes), len(classes) + 1
    total = np.array([facts["counts"] for facts in made if "counts" in facts], np.int64).reshape(-1, *shape).sum(axis=0)
    counted = from_counts(classes, total) if total[:, :-1].any() else None
    files = [{name: value for name, value in facts.items() if name != "counts"} for facts in made]
    known = {"closed_form": closed, "counted": counted}
    described = {
        "format": FORMAT,
        "version": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "reading": reading,
        "files": files,
        "transition": {k: t and t.as_dict() for k, t in known.items()},
        "verdict": {k: t and verdict(t).as_dict() for k, t in known.items()},
    }
    write_yaml(out / label_set.NOISE_FILE, described, default_flow_style=None, width=120)
    return list(_verdicts(recipe, closed, counted))


def _verdicts(recipe: Recipe, closed: TransitionMatrix | None, counted: TransitionMatrix | None) -> Iterator[str]:
    """Word the verdict on the recipe, and on the pixels drawn where they say less or are all there is."""
    if closed is not None:
        yield verdict(closed).sentence
    if counted is None:
        return
    if closed is None:
        yield verdict(counted).sentence
        yield (
            f"{recipe.title} depends on the place, of which the matrix knows nothing: how far boundaries moved is what "
            "a network will learn of it (Theorem 1)."
        )
    elif counted.rank < closed.rank:
        yield f"These files hold too few pixels to show it: {verdict(counted).sentence}"


# ---- density

Maps = dict[int, np.ndarray]


def plan_density(task: Density, paths: Sequence[Path], out: Path) -> Plan:
    """Make a unit of each label file.

    Raises
    ------
    InputError
        If classes, bandwidth or reference do not fit the labels.
    """
    names = dict(zip(paths, output_stems(paths), strict=True))
    found, refused = usable(paths, task.reading)
    partners = label_set.partners_of(found.paths, task.reference) if task.reference is not None else []
    clean = label_set.LabelSet(partners, task.reading) if partners else None
    if clean is not None:
        label_set.check_same_sizes(found, clean)
    classes = chosen_classes(task.classes, found)
    units = []
    for index, (path, width) in enumerate(zip(found.paths, bandwidths_of(task.bandwidth, found), strict=True)):
        file, target = found.one(index), out / f"{names[path]}_density.tif"
        partner = None if clean is None else clean.one(index)
        args = (file, partner, classes, task.kernel, width, task.edges, target)
        units.append(Unit(str(path), (path,), (target,), map_file, args, f"{file.meaning} {partner}"))
    return Plan(units, refused, None if clean is None else lambda made: _retained_in_words(classes, made))


def map_file(
    checkpoint: Checkpoint,
    file: label_set.LabelFile,
    partner: label_set.LabelFile | None,
    classes: Sequence[int],
    kernel: Kernel,
    width: tuple[float, float],
    edges: bool,
    target: Path,
) -> Steps:
    """Write the densities of a file, and compare them with those of its partner."""
    checkpoint()
    yield 0.0
    pixels, like = file.read()
    maps = class_maps(pixels, classes, kernel, width, edges)
    write_maps(target, maps, like)
    if partner is None:
        return Done()
    with noting() as notes:
        left = compare_maps(partner, pixels, maps, kernel, width, edges)
    return Done(tuple(notes), {"file": str(file.path), "left": left})


def _retained_in_words(classes: Sequence[int], made: Sequence[dict[str, Any]]) -> list[str]:
    """Say of each file how much is retained, and how far the densities are apart."""
    said = []
    for facts in made:
        retained, *apart = facts["left"]
        far = ", ".join(f"{c} {d:.4f}" for c, d in zip(classes, apart, strict=True))
        said.append(f"{facts['file']}: meta-structure retained {retained:.4f}, distance of class {far}")
    return said


def chosen_classes(classes: Sequence[int] | None, labels: label_set.LabelSet) -> tuple[int, ...]:
    """Choose the classes whose density is asked for.

    Raises
    ------
    InputError
        For one that is not among the labels.
    """
    chosen = tuple(dict.fromkeys(classes or labels.classes))
    if absent := [c for c in chosen if c not in labels.classes]:
        raise InputError(f"--class {absent[0]}: there is no such pixel; the classes are {listed(labels.classes)}.")
    return chosen


def bandwidths_of(text: str, labels: label_set.LabelSet) -> list[tuple[float, float]]:
    """Turn a bandwidth as users write it into pixels along Y and X of each file.

    Raises
    ------
    InputError
        If it is none, or does not fit a file.
    """
    try:
        size, unit = parse_length(text)
    except InputError as error:
        raise InputError(f"--bandwidth {text}: {error}") from None
    found, bad = [], []
    for path, shape, steps_of in zip(labels.paths, labels.shapes, labels.steps, strict=True):
        pixel = steps_of["Y"], steps_of["X"]
        lengths = [convert(size, unit, to) if unit != PIXEL else size for _, to in pixel]
        if None in lengths:
            bad.append(f"{path} has no voxel size to turn {text} into pixels; give --bandwidth in pixels.")
            continue
        steps = [1.0 if unit == PIXEL else step for step, _ in pixel]
        pair = [snapped(length / step) for length, step in zip(lengths, steps, strict=True) if length is not None]
        try:
            found.append(check_bandwidth(pair, shape, str(path)))
        except InputError as error:
            bad.append(str(error))
    if bad:
        raise InputError("\n".join(bad))
    return found


def class_maps(
    pixels: np.ndarray, classes: Sequence[int], kernel: Kernel, bandwidth: tuple[float, float], edges: bool
) -> Maps:
    """Map each class; 0 throughout where a file lacks it, so that all files have the same channels."""
    present = [c for c in classes if (pixels == c).any()]
    maps = densities(pixels, kernel, bandwidth, edges=edges, classes=present)
    return {c: maps[c] if c in maps else np.zeros(pixels.shape, np.float32) for c in classes}


def write_maps(target: Path, maps: Maps, like: Image) -> None:
    """Write classes along C, the only one without."""
    images = [stack(list(planes), like) for planes in maps.values()]
    image = images[0]
    if len(images) > 1:
        image = replace(
            image,
            data=np.stack([i.data for i in images]),
            axes=f"C{image.axes}",
            scale=(1.0, *image.scale),
            units=("pixel", *image.units),
        )
    write_tiff(target, image.data, image.axes, image.scale, image.units)


def compare_maps(
    clean: label_set.LabelFile,
    noisy: np.ndarray,
    maps: Maps,
    kernel: Kernel,
    bandwidth: tuple[float, float],
    edges: bool,
) -> list[float]:
    """Measure the share of the meta-structure that is retained, and how far the density of each class is from clean.

    The share is nan, with a warning, where there was none to lose.
    """
    pixels = clean.read()[0]
    try:
        retained = structure_retained(pixels, noisy, kernel, bandwidth)
    except InputError as error:
        warn(f"{clean.path}: {error}", stacklevel=2)
        retained = math.nan
    true = class_maps(pixels, list(maps), kernel, bandwidth, edges)
    return [retained, *(distance(true[c], maps[c]) for c in maps)]
