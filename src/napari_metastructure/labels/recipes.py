"""The recipes of label noise: the dials of each, the noise it makes, and its noise transition matrix.

One definition gives the widget's form, the options of the command line, the YAML beside a run and the metadata of a
layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from napari_metastructure.errors import InputError, explain
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels import transition as closed
from napari_metastructure.labels.classes import (
    check_class_list,
    check_classes,
    check_labels,
    check_share,
    classes_in,
    listed,
    result_dtype,
)
from napari_metastructure.labels.noise import flip, flip_by_matrix, random_labels, sample
from napari_metastructure.labels.transition import SUM_TOLERANCE, TransitionMatrix

# -------- What all recipes have in common.


Family = Literal["RCL", "PCL", "RL"]
"""Randomized, perturbed clean labels; random labels."""


class RecipeBase(BaseModel):
    """A recipe of label noise; its fields are the dials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    family: ClassVar[Family]

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Make noisy labels from clean ones.

        Parameters
        ----------
        labels : (Y, X) array of integers or booleans
            A plane; not changed.
        rng : numpy.random.Generator
        classes : sequence of int
            Ascending; those of the whole stack, for the plane may lack some.

        Returns
        -------
        (Y, X) array
            The input's dtype, uint8 if that cannot hold 255.

        Raises
        ------
        InputError
            If the labels are none, or the recipe does not fit the classes.
        """
        return self._noisy(labels, rng, tuple(classes))

    def transition(self, classes: Sequence[int]) -> TransitionMatrix | None:
        """Give the noise transition matrix in closed form; None for PCL, whose noise depends on the place.

        Raises
        ------
        InputError
            If the recipe does not fit the classes.
        """
        return self._transition(tuple(classes))

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix | None:
        return None


# -------- Recipes applied to stacks, plane by plane, each plane with a generator of its own.


def apply(
    recipe: RecipeBase, labels: Any, seed: int, classes: Sequence[int] | None = None, first: int = 0
) -> np.ndarray:
    """Apply a recipe plane by plane.

    Plane k is drawn with ``numpy.random.default_rng([seed, first + k])``: alone it gives what it gives within its
    stack, and a stack that is cut into pieces gives what it gives whole.

    Parameters
    ----------
    recipe : Recipe
    labels : (..., Y, X) array of integers or booleans
        Not changed.
    seed : int
        From 0.
    classes : sequence of int, optional
        Ascending; those in the whole stack by default, so that a plane that lacks a class is drawn as the others are.
    first : int
        Number of the first plane.

    Returns
    -------
    (..., Y, X) array
        The input's dtype, uint8 if that cannot hold 255.

    Raises
    ------
    InputError
        If the labels are none, are all unlabelled, or have a class that is not among those given; if the recipe does
        not fit the classes; for a negative seed.
    """
    labels = check_labels(labels)
    if recipe.family == "RL" and classes is not None:  # draws without a look at the labels
        chosen = check_class_list(classes)
    else:
        chosen = check_classes(labels, classes)
    if labels.ndim == 2:
        return recipe.apply(labels, _generator(seed, first), chosen)
    result = np.empty(labels.shape, result_dtype(labels))
    for k, place in enumerate(np.ndindex(labels.shape[:-2])):
        result[place] = recipe.apply(labels[place], _generator(seed, first + k), chosen)
    return result


def apply_to_plane(
    recipe: RecipeBase,
    labels: Any,
    index: int | tuple[int, ...],
    seed: int,
    classes: Sequence[int] | None = None,
    first: int = 0,
) -> np.ndarray:
    """One plane of what `apply` makes of a stack, without making the others.

    Parameters
    ----------
    recipe : Recipe
    labels : (..., Y, X) array of integers or booleans
        With ``classes`` given, only the plane is read.
    index : int or tuple of int
        The plane: its number in the order of memory, or its place along the leading axes (``()`` of a single one).
    seed, classes, first
        As for `apply`.

    Returns
    -------
    (Y, X) array
        Equal to ``apply(recipe, labels, seed, classes, first)[index]``.

    Raises
    ------
    InputError
        As `apply`.
    """
    leading = tuple(np.shape(labels)[:-2])
    place = index if isinstance(index, tuple) else tuple(int(i) for i in np.unravel_index(index, leading))
    number = int(np.ravel_multi_index(place, leading)) if place else 0
    chosen = classes_in(check_labels(labels)) if classes is None else check_class_list(classes)
    return recipe.apply(check_labels(labels[place]), _generator(seed, first + number), chosen)


def _generator(seed: int, plane: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"The seed must be a whole number from 0, not {seed}.")
    return np.random.default_rng([seed, plane])


# -------- Recipes that move, grow, shrink or thin structures: PCL. Their noise depends on the place.


_STEPS = "Passes of a 3x3 template: pixels on each side."


class Dilate(RecipeBase):
    """PCL by dilation, see `napari_metastructure.labels.shapes.dilate`."""

    title: ClassVar[str] = "PCL: dilation"
    family: ClassVar[Family] = "PCL"
    kind: Literal["dilate"] = "dilate"
    n: int = Field(1, ge=0, le=1000, description=_STEPS)

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import dilate

        return dilate(labels, self.n)


class Erode(RecipeBase):
    """PCL by erosion, see `napari_metastructure.labels.shapes.erode`."""

    title: ClassVar[str] = "PCL: erosion"
    family: ClassVar[Family] = "PCL"
    kind: Literal["erode"] = "erode"
    n: int = Field(1, ge=0, le=1000, description=_STEPS)

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import erode

        return erode(labels, self.n)


class Skeleton(RecipeBase):
    """PCL by thinning, see `napari_metastructure.labels.shapes.skeleton`."""

    title: ClassVar[str] = "PCL: skeleton"
    family: ClassVar[Family] = "PCL"
    kind: Literal["skeleton"] = "skeleton"

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import skeleton

        return skeleton(labels)


class Open(RecipeBase):
    """PCL by opening, see `napari_metastructure.labels.shapes.opening`."""

    title: ClassVar[str] = "PCL: opening"
    family: ClassVar[Family] = "PCL"
    kind: Literal["open"] = "open"
    n: int = Field(2, ge=0, le=1000, description=f"{_STEPS} Erosions, then as many dilations.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import opening

        return opening(labels, self.n)


class Close(RecipeBase):
    """PCL by closing, see `napari_metastructure.labels.shapes.closing`."""

    title: ClassVar[str] = "PCL: closing"
    family: ClassVar[Family] = "PCL"
    kind: Literal["close"] = "close"
    n: int = Field(2, ge=0, le=1000, description=f"{_STEPS} Dilations, then as many erosions.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import closing

        return closing(labels, self.n)


class PerturbObjects(RecipeBase):
    """PCL object by object, see `napari_metastructure.labels.shapes.perturb_objects`."""

    title: ClassVar[str] = "PCL: objects dilated or eroded"
    family: ClassVar[Family] = "PCL"
    kind: Literal["objects"] = "objects"
    n: int = Field(2, ge=0, le=1000, description="Each object grows or shrinks by a random number of steps up to this.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import perturb_objects

        return perturb_objects(labels, self.n, rng)


class DisplaceBoundary(RecipeBase):
    """PCL by displacement, see `napari_metastructure.labels.shapes.displace_boundary`."""

    title: ClassVar[str] = "PCL: boundary displaced"
    family: ClassVar[Family] = "PCL"
    kind: Literal["boundary"] = "boundary"
    amplitude: float = Field(3.0, ge=0, le=1000, description="How far boundaries move (rms), in pixels.")
    correlation: float = Field(
        20.0, gt=0, le=10_000, description="How far apart two places move on their own, in pixels."
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.shapes import displace_boundary

        return displace_boundary(labels, self.amplitude, self.correlation, rng)


# -------- Fields of recipes that are more than one number: shares by class, and noise transition matrices.


def _read_shares(value: Any) -> Any:
    """``0=0.1, 1=0.5`` as a mapping; the command line and text fields write it so."""
    if not isinstance(value, str):
        return value
    pairs = [re.split(r"[=:]", part) for part in value.strip(" {}").split(",") if part.strip()]
    try:
        return {int(label): float(share) for label, share in pairs}
    except ValueError:
        raise InputError(f"{value!r} gives no shares by class; write them like 0=0.1, 1=0.5.") from None


def _check_shares(shares: dict[int, float]) -> dict[int, float]:
    if not shares:
        raise InputError("Shares by class are empty; give one for each class, or none at all.")
    for label, share in shares.items():
        if label < 0 or label == UNLABELLED:
            raise InputError(f"{label} is no class; classes are numbers from 0, without {UNLABELLED}.")
        check_share(share, f"The share of class {label}")
    return dict(sorted(shares.items()))


def check_sum(shares: Mapping[int, float]) -> None:
    """Refuse probabilities of classes that do not add up to 1.

    Raises
    ------
    InputError
    """
    total = sum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"The probabilities of the classes {listed(list(shares))} must add up to 1, not {total:.6g}.")


def _read_matrix(value: Any) -> Any:
    """``0.9 0.1; 0.2 0.8`` as rows; arrays, and text cut at its commas by a form, as well."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    if not isinstance(value, str):
        return value
    rows = [re.split(r"[,\s]+", row.strip(" ,[(")) for row in re.split(r"[;\n\])]", value) if row.strip(" ,[(")]
    try:
        return [[float(entry) for entry in row] for row in rows]
    except ValueError:
        raise InputError(f"{value!r} is no matrix; write its rows like 0.9 0.1; 0.2 0.8.") from None


def _check_matrix(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    for place, row in enumerate(rows, 1):
        if len(row) != len(rows):
            raise InputError(
                f"A noise transition matrix must be square: of its rows, {len(rows)} in number, row {place} has the "
                f"length {len(row)}."
            )
    if len(rows) < 2:
        raise InputError("A noise transition matrix needs two rows at least, one for each class.")
    for place, row in enumerate(rows, 1):
        for share in row:
            check_share(share, f"A probability in row {place} of the noise transition matrix")
        if abs(sum(row) - 1) > SUM_TOLERANCE:
            raise InputError(f"Row {place} of the noise transition matrix must add up to 1, not {sum(row):.6g}.")
    return rows


Shares = Annotated[
    dict[int, float],
    BeforeValidator(_read_shares),
    AfterValidator(_check_shares),
    Field(json_schema_extra={"takes": "a number for each class"}),
]
"""A number from 0 to 1 for each class; text like ``0=0.1, 1=0.5`` is read."""

Matrix = Annotated[
    tuple[tuple[float, ...], ...],
    BeforeValidator(_read_matrix),
    AfterValidator(_check_matrix),
    Field(json_schema_extra={"takes": "rows of numbers"}),
]
"""Square, its rows adding up to 1; arrays and text like ``0.9 0.1; 0.2 0.8`` are read."""


# -------- Recipes that place has no part in, so that they have a noise transition matrix: RCL and RL.


_BY_CLASS = "for each class named, in place of the one number."


class Sample(RecipeBase):
    """RCL by sampling, see `napari_metastructure.labels.noise.sample`."""

    title: ClassVar[str] = "RCL: sampling"
    family: ClassVar[Family] = "RCL"
    kind: Literal["sample"] = "sample"
    keep: float = Field(0.5, ge=0, le=1, description="Share of pixels that keep their label; the rest become 255.")
    per_class: Shares | None = Field(None, description=f"Share that keeps its label {_BY_CLASS}")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return sample(labels, _shares(self.keep, self.per_class, classes), rng, classes)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.sampling_matrix(classes, _shares(self.keep, self.per_class, classes))


class Flip(RecipeBase):
    """RCL by flipping, see `napari_metastructure.labels.noise.flip`."""

    title: ClassVar[str] = "RCL: flipping"
    family: ClassVar[Family] = "RCL"
    kind: Literal["flip"] = "flip"
    fraction: float = Field(0.45, ge=0, le=1, description="Share of labels swapped with a class drawn from the others.")
    per_class: Shares | None = Field(None, description=f"Share swapped {_BY_CLASS}")
    exact: bool = Field(
        False, description="Swap exactly this share of each plane's labelled pixels, or each pixel independently."
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return flip(labels, _shares(self.fraction, self.per_class, classes), rng, classes, exact=self.exact)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.flipping_matrix(classes, _shares(self.fraction, self.per_class, classes))


class FlipByMatrix(RecipeBase):
    """RCL by a noise transition matrix, see `napari_metastructure.labels.noise.flip_by_matrix`."""

    title: ClassVar[str] = "RCL: flipping by a matrix"
    family: ClassVar[Family] = "RCL"
    kind: Literal["matrix"] = "matrix"
    matrix: Matrix = Field(
        ((0.55, 0.45), (0.45, 0.55)),
        description="Row i, column j: probability that a pixel of the i-th class becomes the j-th; rows add up to 1.",
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return flip_by_matrix(labels, self.matrix, rng, classes)

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.given_matrix(classes, self.matrix)


class Random(RecipeBase):
    """RL, see `napari_metastructure.labels.noise.random_labels`; of the labels only the shape matters."""

    title: ClassVar[str] = "RL: random labels"
    family: ClassVar[Family] = "RL"
    kind: Literal["random"] = "random"
    probability: float = Field(
        0.5, ge=0, le=1, description="P_generate, the probability of the second of two classes (the foreground)."
    )
    per_class: Shares | None = Field(
        None, description="Probability of each class, adding up to 1, in place of the one number."
    )

    @field_validator("per_class")
    @classmethod
    def _adds_up(cls, shares: dict[int, float] | None) -> dict[int, float] | None:
        if shares is not None:
            check_sum(shares)
        return shares

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        return random_labels(labels.shape, self._probability(classes), rng, classes, result_dtype(labels))

    def _transition(self, classes: tuple[int, ...]) -> TransitionMatrix:
        return closed.random_matrix(classes, self._probability(classes))

    def _probability(self, classes: tuple[int, ...]) -> float | dict[int, float]:
        if self.per_class is not None:
            return self.per_class
        if len(classes) == 2:
            return self.probability
        if len(classes) == 1:
            raise InputError(f"Random labels need two classes at least; there is only class {classes[0]}.")
        raise InputError(
            f"One probability is for two classes; set per_class, a probability for each of {listed(classes)}, "
            "adding up to 1."
        )


def _shares(number: float, per_class: dict[int, float] | None, classes: tuple[int, ...]) -> float | dict[int, float]:
    """One number, or each class's own: what is given for it, else the one number."""
    return number if per_class is None else {**dict.fromkeys(classes, number), **per_class}


Recipe = Annotated[
    Sample
    | Flip
    | FlipByMatrix
    | Dilate
    | Erode
    | Skeleton
    | Open
    | Close
    | PerturbObjects
    | DisplaceBoundary
    | Random,
    Field(discriminator="kind"),
]
"""Any of them, told apart by ``kind``."""

_MODELS = (Sample, Flip, FlipByMatrix, Dilate, Erode, Skeleton, Open, Close, PerturbObjects, DisplaceBoundary, Random)

RECIPES: dict[str, type[Recipe]] = {model.model_fields["kind"].default: model for model in _MODELS}
"""By kind, in the order of menus."""

_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def make_recipe(kind: str, **dials: Any) -> Recipe:
    """Build a recipe from plain values: those of a command line, a form, YAML or metadata.

    Parameters
    ----------
    kind : str
        One of `RECIPES`.
    **dials
        Its fields; defaults for those left out.

    Raises
    ------
    InputError
        About the first value that does not fit.
    """
    if kind not in RECIPES:
        raise InputError(f"There is no recipe {kind!r}; choose one of {', '.join(RECIPES)}.")
    try:
        return _ADAPTER.validate_python({"kind": kind, **dials})
    except ValidationError as error:
        title = RECIPES[kind].title
        raise InputError(explain(error, RECIPES[kind], lambda name: f"{title}: {name}")) from None
