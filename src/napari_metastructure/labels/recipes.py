"""Recipes of label noise (RCL, PCL, RL) as settings, and their application to label stacks plane by plane.

One definition gives the widget's form, the options of the command line, the YAML beside a run and the metadata of a
layer.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from napari_metastructure.errors import InputError, explain, listed
from napari_metastructure.labels import UNLABELLED, noise, pixels, shapes
from napari_metastructure.labels import transition as matrices
from napari_metastructure.labels.classes import LabelStack, PlaneDone

Family = Literal["RCL", "PCL", "RL"]
"""Randomized clean labels, perturbed clean labels, random labels."""

_STEPS = "Passes of a 3x3 template: pixels on each side."
_BY_CLASS = "for each class named, in place of the one number."


def _check_shares(shares: dict[int, float]) -> dict[int, float]:
    if not shares:
        raise InputError("Shares by class are empty; give one for each class, or none at all.")
    for label, share in shares.items():
        if label < 0 or label == UNLABELLED:
            raise InputError(f"{label} is no class; classes are numbers from 0, without {UNLABELLED}.")
        pixels.check_share(share, f"The share of class {label}")
    return dict(sorted(shares.items()))


def _check_sum(shares: dict[int, float]) -> dict[int, float]:
    matrices.check_sum(list(shares.values()), f"The probabilities of the classes {listed(list(shares))}")
    return shares


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
        matrices.check_row(row, f"row {place} of the noise transition matrix")
    return rows


Shares = Annotated[
    dict[int, float], AfterValidator(_check_shares), Field(json_schema_extra={"takes": "a number for each class"})
]
"""A number from 0 to 1 for each class."""

Matrix = Annotated[
    tuple[tuple[float, ...], ...],
    BeforeValidator(lambda value: value.tolist() if isinstance(value, np.ndarray) else value),
    AfterValidator(_check_matrix),
    Field(json_schema_extra={"takes": "rows of numbers"}),
]
"""Square, its rows adding up to 1; arrays are read."""


class RecipeBase(BaseModel):
    """A recipe of label noise; its fields are the dials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    family: ClassVar[Family] = "PCL"

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Make noisy labels from clean ones.

        Parameters
        ----------
        labels : (Y, X) array of integers or booleans
            A plane; not changed.
        rng : numpy.random.Generator
        classes : sequence of int
            Ascending; those of the whole stack, because the plane may lack some.

        Returns
        -------
        (Y, X) array
            The input's dtype, uint8 if that cannot hold 255.

        Raises
        ------
        InputError
            If the labels are none, or the recipe does not fit the classes.
        """
        raise NotImplementedError

    def transition(self, classes: Sequence[int]) -> matrices.TransitionMatrix | None:
        """Return the noise transition matrix in closed form; None for PCL, whose noise depends on the place.

        Raises
        ------
        InputError
            If the recipe does not fit the classes.
        """
        return None


class Sample(RecipeBase):
    """RCL by sampling, see `napari_metastructure.labels.noise.sample`."""

    title: ClassVar[str] = "RCL: sampling"
    family: ClassVar[Family] = "RCL"
    kind: Literal["sample"] = "sample"
    keep: float = Field(
        0.5,
        title="Kept (P_sample)",
        ge=0,
        le=1,
        description="Share of pixels that keep their label; the rest become 255.",
    )
    per_class: Shares | None = Field(None, description=f"Share that keeps its label {_BY_CLASS}")

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Keep some labels, make the others 255."""
        return noise.sample(labels, _shares(self, "keep", classes), rng, classes)

    def transition(self, classes: Sequence[int]) -> matrices.TransitionMatrix:
        """Return the noise transition matrix."""
        return matrices.sampling_matrix(classes, _shares(self, "keep", classes))


class Flip(RecipeBase):
    """RCL by flipping, see `napari_metastructure.labels.noise.flip`."""

    title: ClassVar[str] = "RCL: flipping"
    family: ClassVar[Family] = "RCL"
    kind: Literal["flip"] = "flip"
    fraction: float = Field(
        0.45,
        title="Swapped (P_flip)",
        ge=0,
        le=1,
        description="Share of labels swapped with a class drawn from the others.",
    )
    per_class: Shares | None = Field(None, description=f"Share swapped {_BY_CLASS}")
    exact: bool = Field(
        False, description="Swap exactly this share of each plane's labelled pixels, or each pixel independently."
    )

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Swap some labels with other classes."""
        return noise.flip(labels, _shares(self, "fraction", classes), rng, classes, exact=self.exact)

    def transition(self, classes: Sequence[int]) -> matrices.TransitionMatrix:
        """Return the noise transition matrix."""
        return matrices.flipping_matrix(classes, _shares(self, "fraction", classes))


class FlipByMatrix(RecipeBase):
    """RCL by a noise transition matrix, see `napari_metastructure.labels.noise.flip_by_matrix`."""

    title: ClassVar[str] = "RCL: flipping by a matrix"
    family: ClassVar[Family] = "RCL"
    kind: Literal["matrix"] = "matrix"
    matrix: Matrix = Field(
        ((0.55, 0.45), (0.45, 0.55)),
        description="Row i, column j: probability that a pixel of the i-th class becomes the j-th; rows add up to 1.",
    )

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Draw every label from the row of its class."""
        return noise.flip_by_matrix(labels, self.matrix, rng, classes)

    def transition(self, classes: Sequence[int]) -> matrices.TransitionMatrix:
        """Return the noise transition matrix."""
        return matrices.given_matrix(classes, self.matrix)


class Dilate(RecipeBase):
    """PCL by dilation, see `napari_metastructure.labels.shapes.dilate`."""

    title: ClassVar[str] = "PCL: dilation"
    kind: Literal["dilate"] = "dilate"
    n: int = Field(1, title="Steps", ge=0, le=1000, description=_STEPS)

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Dilate every class."""
        return shapes.dilate(labels, self.n)


class Erode(RecipeBase):
    """PCL by erosion, see `napari_metastructure.labels.shapes.erode`."""

    title: ClassVar[str] = "PCL: erosion"
    kind: Literal["erode"] = "erode"
    n: int = Field(1, title="Steps", ge=0, le=1000, description=_STEPS)

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Erode every class."""
        return shapes.erode(labels, self.n)


class Skeleton(RecipeBase):
    """PCL by thinning, see `napari_metastructure.labels.shapes.skeleton`."""

    title: ClassVar[str] = "PCL: skeleton"
    kind: Literal["skeleton"] = "skeleton"

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Thin every class to its skeleton."""
        return shapes.skeleton(labels)


class Open(RecipeBase):
    """PCL by opening, see `napari_metastructure.labels.shapes.opening`."""

    title: ClassVar[str] = "PCL: opening"
    kind: Literal["open"] = "open"
    n: int = Field(2, title="Steps", ge=0, le=1000, description=f"{_STEPS} Erosions, then as many dilations.")

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Erode, then dilate every class."""
        return shapes.opening(labels, self.n)


class Close(RecipeBase):
    """PCL by closing, see `napari_metastructure.labels.shapes.closing`."""

    title: ClassVar[str] = "PCL: closing"
    kind: Literal["close"] = "close"
    n: int = Field(2, title="Steps", ge=0, le=1000, description=f"{_STEPS} Dilations, then as many erosions.")

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Dilate, then erode every class."""
        return shapes.closing(labels, self.n)


class PerturbObjects(RecipeBase):
    """PCL object by object, see `napari_metastructure.labels.shapes.perturb_objects`."""

    title: ClassVar[str] = "PCL: objects dilated or eroded"
    kind: Literal["objects"] = "objects"
    n: int = Field(
        2,
        title="Steps",
        ge=0,
        le=1000,
        description="Each object grows or shrinks by a random number of steps up to this.",
    )

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Dilate or erode every object by steps of its own."""
        return shapes.perturb_objects(labels, self.n, rng)


class DisplaceBoundary(RecipeBase):
    """PCL by displacement, see `napari_metastructure.labels.shapes.displace_boundary`."""

    title: ClassVar[str] = "PCL: boundary displaced"
    kind: Literal["boundary"] = "boundary"
    amplitude: float = Field(3.0, ge=0, le=1000, description="How far boundaries move (rms), in pixels.")
    correlation: float = Field(
        20.0, gt=0, le=10_000, description="Distance in pixels beyond which places on a boundary move on their own."
    )

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Move all boundaries by a smooth random field."""
        return shapes.displace_boundary(labels, self.amplitude, self.correlation, rng)


class Random(RecipeBase):
    """RL, see `napari_metastructure.labels.noise.random_labels`; of the labels only the shape matters."""

    title: ClassVar[str] = "RL: random labels"
    family: ClassVar[Family] = "RL"
    kind: Literal["random"] = "random"
    probability: float = Field(
        0.5,
        title="P_generate",
        ge=0,
        le=1,
        description="P_generate, the probability of the second of two classes (the foreground).",
    )
    per_class: Annotated[Shares, AfterValidator(_check_sum)] | None = Field(
        None, description="Probability of each class, adding up to 1, in place of the one number."
    )

    def apply(self, labels: np.ndarray, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
        """Draw every label without a look at the clean ones."""
        return noise.random_labels(labels.shape, self._probability(classes), rng, classes, pixels.result_dtype(labels))

    def transition(self, classes: Sequence[int]) -> matrices.TransitionMatrix:
        """Return the noise transition matrix."""
        return matrices.random_matrix(classes, self._probability(classes))

    def _probability(self, classes: Sequence[int]) -> float | dict[int, float]:
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


def _shares(recipe: Sample | Flip, name: str, classes: Sequence[int]) -> float | dict[int, float]:
    """Return one number, or each class's own: what is given for it, else the one number if that was given as well."""
    number: float = getattr(recipe, name)
    if recipe.per_class is None:
        return number
    others = dict.fromkeys(classes, number) if name in recipe.model_fields_set else {}
    return {**others, **recipe.per_class}


AnyRecipe = (
    Sample | Flip | FlipByMatrix | Dilate | Erode | Skeleton | Open | Close | PerturbObjects | DisplaceBoundary | Random
)

Recipe = Annotated[AnyRecipe, Field(discriminator="kind")]
"""Any of them; ``kind`` says which."""

RECIPES: dict[str, type[AnyRecipe]] = {model.model_fields["kind"].default: model for model in get_args(AnyRecipe)}
"""By kind, in the order of menus."""

_ADAPTER: TypeAdapter[AnyRecipe] = TypeAdapter(Recipe)


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

    Examples
    --------
    >>> make_recipe("flip", fraction=0.2)
    Flip(kind='flip', fraction=0.2, per_class=None, exact=False)
    """
    if kind not in RECIPES:
        raise InputError(f"There is no recipe {kind!r}; choose one of {', '.join(RECIPES)}.")
    try:
        return _ADAPTER.validate_python({"kind": kind, **dials})
    except ValidationError as error:
        title = RECIPES[kind].title
        raise InputError(explain(error, RECIPES[kind], lambda name: f"{title}: {name}")) from None


def recipe_name(recipe: RecipeBase) -> str:
    """Write a recipe in a few words, for a layer's name.

    Examples
    --------
    >>> recipe_name(Flip(fraction=0.2))
    'RCL flip 0.2'
    """
    values = recipe.model_dump()
    words = [recipe.family, values.pop("kind")]
    if values.get("per_class") is not None:
        return " ".join([*words, "per class"])
    numbers = [v for v in values.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return " ".join([*words, *(f"{v:g}" for v in numbers)])


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

    Examples
    --------
    >>> clean = np.eye(64, dtype=np.uint8)
    >>> noisy = apply(Flip(fraction=0.1, exact=True), clean, seed=1)
    >>> int((noisy != clean).sum())  # of 4096
    410
    """
    labels = pixels.check_labels(labels)
    if recipe.family == "RL" and classes is not None:  # draws without a look at the labels
        chosen = pixels.check_class_list(classes)
    else:
        chosen = pixels.check_classes(labels, classes)
    if labels.ndim == 2:
        return recipe.apply(labels, _generator(seed, first), chosen)
    result = np.empty(labels.shape, pixels.result_dtype(labels))
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
    """Make one plane of what `apply` makes of a stack, without the others.

    Parameters
    ----------
    recipe, labels, seed, classes, first
        As in `apply`; with ``classes`` given, only the plane is read.
    index : int or tuple of int
        The plane: its number in the order of memory, or its place along the leading axes (``()`` of a single one).

    Returns
    -------
    (Y, X) array
        Equal to ``apply(recipe, labels, seed, classes, first)[index]``.
    """
    leading = tuple(np.shape(labels)[:-2])
    place = index if isinstance(index, tuple) else tuple(int(i) for i in np.unravel_index(index, leading))
    number = int(np.ravel_multi_index(place, leading)) if place else 0
    chosen = pixels.classes_in(pixels.check_labels(labels)) if classes is None else pixels.check_class_list(classes)
    return recipe.apply(pixels.check_labels(labels[place]), _generator(seed, first + number), chosen)


@dataclass(frozen=True, eq=False)
class NoisyStack:
    """All planes of a stack with noise, from `apply_to_stack`.

    Attributes
    ----------
    labels : (..., Y, X) array
    classes : tuple of int
        Of the whole stack.
    transition : TransitionMatrix or None
        In closed form, else counted on all planes; None where nothing could be counted.
    checksums : tuple of int
        `checksum` of each plane as it was read.
    """

    labels: np.ndarray
    classes: tuple[int, ...]
    transition: matrices.TransitionMatrix | None
    checksums: tuple[int, ...]


def apply_to_stack(recipe: RecipeBase, stack: LabelStack, seed: int) -> Iterator[PlaneDone | NoisyStack]:
    """Apply a recipe to a stack of an array, which may be lazy, plane by plane.

    Every plane is read twice: first for its values, which decide what the numbers mean, then to be drawn. Planes are
    drawn as by `apply`.

    Yields
    ------
    PlaneDone
        After each reading of a plane; who stops iterating here stops the work.
    NoisyStack
        At the end.

    Raises
    ------
    InputError
        As `apply` and `LabelStack.meaning`; if there is not enough memory.

    Examples
    --------
    >>> stack = LabelStack(np.array([np.eye(8), np.eye(8)], int), "foreground")
    >>> *progress, noisy = apply_to_stack(Flip(), stack, seed=0)
    >>> progress[-1], noisy.labels.shape, noisy.transition.rank
    (PlaneDone(done=4, of=4), (2, 8, 8), 2)
    """
    total = 2 * len(stack)
    for progress in stack.survey():
        yield PlaneDone(progress.done, total)
    meaning = stack.meaning()
    classes, transition = meaning.classes, recipe.transition(meaning.classes)
    counts = np.zeros((len(classes), len(classes) + 1), np.int64)
    try:
        labels = np.empty(stack.shape, meaning.dtype)
    except MemoryError:
        size = np.prod(stack.shape, dtype=float) * meaning.dtype.itemsize / 2**30
        raise InputError(f"{stack.name}: its noisy labels need {size:.1f} GiB of memory, more than is free.") from None
    planes, sums = labels.reshape(-1, *labels.shape[-2:]), []
    for index in range(len(stack)):
        sums.append(checksum(stack.pixels(index)))
        clean = stack.read(index, meaning)
        planes[index] = apply_to_plane(recipe, clean, (), seed, classes, first=index)
        if transition is None:
            counts += matrices.count_pairs(clean, planes[index], classes)
        yield PlaneDone(len(stack) + index + 1, total)
    if transition is None and counts[:, :-1].any():
        transition = matrices.from_counts(classes, counts)
    yield NoisyStack(labels, classes, transition, tuple(sums))


def checksum(plane: np.ndarray) -> int:
    """Compute a number by which a change of pixels is noticed."""
    return zlib.crc32(np.ascontiguousarray(plane).data)


def _generator(seed: int, plane: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"The seed must be a whole number from 0, not {seed}.")
    return np.random.default_rng([seed, plane])
