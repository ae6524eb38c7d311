"""Recipes: their dials, the planes they draw, alone and in a stack, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.noise import flip, flip_by_matrix, random_labels, sample
from napari_metastructure.labels.recipes import (
    RECIPES,
    Dilate,
    Flip,
    FlipByMatrix,
    Random,
    Recipe,
    Sample,
    apply,
    apply_to_plane,
    apply_to_stack,
    checksum,
    make_recipe,
    recipe_name,
)
from napari_metastructure.labels.shapes import closing, dilate, erode, opening, skeleton
from napari_metastructure.labels.transition import estimate_transition_matrix

THREE = ((0.8, 0.1, 0.1), (0.3, 0.7, 0), (0, 0, 1))
OF_THREE = {"matrix": {"matrix": THREE}, "random": {"per_class": {0: 0.5, 1: 0.3, 2: 0.2}}, "objects": {"n": 9}}
"""Dials of recipes whose defaults do not suit the stack."""


@pytest.fixture
def stack() -> np.ndarray:
    """2 x 3 planes of three classes with discs in them; one plane has but background, one no label at all."""
    y, x = np.mgrid[:40, :50]
    labels = np.zeros((2, 3, 40, 50), np.uint16)
    for k, plane in enumerate(labels.reshape(-1, 40, 50)):
        plane[(y - 12 - k) ** 2 + (x - 14) ** 2 < 60] = 1
        plane[(y - 25) ** 2 + (x - 32 + k) ** 2 < 80] = 2
        plane[:3] = 255
    labels[1, 0] = 0
    labels[0, 2] = 255
    labels.flags.writeable = False
    return labels


def test_the_menu_has_every_recipe_once():
    menu = "sample, flip, matrix, dilate, erode, skeleton, open, close, objects, boundary, random"
    assert ", ".join(RECIPES) == menu
    assert set(get_args(get_args(Recipe)[0])) == set(RECIPES.values())
    assert [model.family for model in RECIPES.values()] == ["RCL"] * 3 + ["PCL"] * 7 + ["RL"]
    assert all(model.title.startswith(f"{model.family}: ") for model in RECIPES.values())
    for kind, model in RECIPES.items():
        assert model().kind == kind, "every dial has a default"
        for name, field in model.model_fields.items():
            assert name == "kind" or field.description


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_survives_yaml_json_and_metadata(kind):
    recipe = make_recipe(kind, **OF_THREE.get(kind, {}))
    plain = recipe.model_dump(mode="json")
    for read in (yaml.safe_load(yaml.safe_dump(plain)), json.loads(json.dumps(plain)), recipe.model_dump()):
        assert make_recipe(**read) == recipe
        assert TypeAdapter(Recipe).validate_python(read) == recipe
    with pytest.raises(ValidationError):
        recipe.kind = "other"


@pytest.mark.parametrize("kind", RECIPES)
def test_planes_are_drawn_alike_alone_and_in_their_stack(kind, stack):
    recipe, before = make_recipe(kind, **OF_THREE.get(kind, {})), stack.copy()
    whole = apply(recipe, stack, 7)
    np.testing.assert_array_equal(stack, before)
    assert whole.shape == stack.shape and whole.dtype == stack.dtype
    for number, place in enumerate(np.ndindex(2, 3)):
        for index in (number, place):
            np.testing.assert_array_equal(apply_to_plane(recipe, stack, index, 7), whole[place])
        one = apply(recipe, stack[place], 7, (0, 1, 2), first=number) if number != 2 else whole[place]
        np.testing.assert_array_equal(one, whole[place])
    np.testing.assert_array_equal(apply(recipe, stack[1], 7, (0, 1, 2), first=3), whole[1], "a stack cut into pieces")
    if recipe.family != "RL":
        assert (whole[stack == 255] == 255).all()
    assert set(np.unique(whole)) <= {0, 1, 2, 255}


def test_a_single_plane_has_no_index(stack):
    plane = stack[0, 0]
    for index in (0, ()):
        np.testing.assert_array_equal(apply_to_plane(Flip(), plane, index, 7), apply(Flip(), plane, 7))


@pytest.mark.parametrize("kind", ["sample", "flip", "matrix", "objects", "boundary", "random"])
def test_planes_and_seeds_differ(kind, stack):
    recipe = make_recipe(kind, **OF_THREE.get(kind, {}))
    same = np.stack([stack[0, 0]] * 2)
    first, second = apply(recipe, same, 7)
    assert (first != second).any()
    assert (apply(recipe, same, 8)[0] != first).any()


def test_what_a_recipe_does_is_what_its_function_does(stack):
    plane, classes = stack[0, 0], (0, 1, 2)
    rng = lambda: np.random.default_rng([5, 0])  # noqa: E731
    shares = {0: 0.1, 1: 0.2, 2: 0.9}
    expected = {
        Sample(keep=0.3): sample(plane, 0.3, rng()),
        Flip(fraction=0.3): flip(plane, 0.3, rng()),
        Flip(fraction=0.3, exact=True): flip(plane, 0.3, rng(), exact=True),
        FlipByMatrix(matrix=THREE): flip_by_matrix(plane, THREE, rng()),
        Dilate(n=3): dilate(plane, 3),
        make_recipe("erode", n=2): erode(plane, 2),
        make_recipe("open", n=3): opening(plane, 3),
        make_recipe("close", n=3): closing(plane, 3),
        make_recipe("skeleton"): skeleton(plane),
    }
    for recipe, noisy in expected.items():
        np.testing.assert_array_equal(apply(recipe, plane, 5), noisy, str(recipe))
    by_class = {
        "sample": sample(plane, shares, rng()),
        "flip": flip(plane, shares, rng()),
    }
    for kind, noisy in by_class.items():
        np.testing.assert_array_equal(apply(make_recipe(kind, per_class=shares), plane, 5), noisy)
    drawn = random_labels(plane.shape, OF_THREE["random"]["per_class"], rng(), classes, np.uint16)
    np.testing.assert_array_equal(apply(make_recipe("random", **OF_THREE["random"]), plane, 5), drawn)


def test_every_plane_has_a_generator_of_its_own(stack):
    plane = stack[0, 0]
    expected = flip(plane, 0.45, np.random.default_rng([5, 2]))
    np.testing.assert_array_equal(apply(Flip(), plane, 5, first=2), expected)
    assert (apply(Flip(), plane, 2, first=5) != expected).any(), "not the sum of seed and plane"


def test_classes_not_named_take_the_one_number():
    labels = np.repeat(np.arange(3), 3000).reshape(90, 100)
    noisy = apply(Sample(keep=1, per_class={1: 0}), labels, 0)
    np.testing.assert_array_equal(noisy == 255, labels == 1)
    np.testing.assert_allclose(Sample(keep=1, per_class={1: 0.25}).transition((0, 1, 2)).matrix, np.diag([1, 0.25, 1]))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Sample(keep=0.25), [[0.25, 0], [0, 0.25]]),
        (Flip(fraction=0.45), [[0.55, 0.45], [0.45, 0.55]]),
        (Flip(fraction=0.1, per_class={4: 0.5}), [[0.9, 0.1], [0.5, 0.5]]),
        (FlipByMatrix(matrix=((0.9, 0.1), (0, 1))), [[0.9, 0.1], [0, 1]]),
        (Random(probability=0.3), [[0.7, 0.3], [0.7, 0.3]]),
        (Random(per_class={0: 0.2, 4: 0.8}), [[0.2, 0.8], [0.2, 0.8]]),
    ],
)
def test_closed_forms_and_what_is_counted(recipe, expected):
    np.testing.assert_allclose(recipe.transition((0, 4)).matrix, expected)
    labels = np.repeat([0, 4], 200_000).reshape(2, 400, 500)
    noisy = apply(recipe, labels, 3)
    counted = [[(noisy[labels == i] == j).mean() for j in (0, 4)] for i in (0, 4)]
    np.testing.assert_allclose(counted, expected, atol=6 * np.sqrt(0.25 / 200_000))


@pytest.mark.parametrize("kind", [kind for kind, model in RECIPES.items() if model.family == "PCL"])
def test_noise_that_depends_on_place_has_no_matrix(kind):
    assert make_recipe(kind).transition((0, 1)) is None


def test_random_labels_do_not_look_at_the_labels():
    labels = np.full((30, 40), 255, np.uint8)
    noisy = apply(Random(), labels, 1, (0, 1))
    np.testing.assert_array_equal(noisy, apply(Random(), labels * 0, 1, (0, 1)))
    assert set(np.unique(noisy)) == {0, 1}


def test_the_preview_reads_one_plane_only():
    class Lazy:
        shape = (10**6, 8, 9)

        def __getitem__(self, place):
            assert place == (123_456,)
            return np.eye(8, 9, dtype=np.uint8)

    noisy = apply_to_plane(Flip(), Lazy(), 123_456, 3, (0, 1))
    np.testing.assert_array_equal(noisy, apply(Flip(), np.eye(8, 9, dtype=np.uint8), 3, first=123_456))


@pytest.mark.parametrize(
    "value",
    [
        np.array([[0.9, 0.1], [0.2, 0.8]]),
        [[0.9, 0.1], (0.2, "0.8")],
    ],
)
def test_ways_to_write_a_matrix(value):
    assert make_recipe("matrix", matrix=value).matrix == ((0.9, 0.1), (0.2, 0.8))


@pytest.mark.parametrize("value", [{"0": "0.25", 1: 0.5}, {1: 0.5, 0: 0.25}])
def test_ways_to_write_shares_by_class(value):
    assert make_recipe("sample", per_class=value).per_class == {0: 0.25, 1: 0.5}


@pytest.mark.parametrize(
    ("kind", "dials", "words"),
    [
        ("blur", {}, "no recipe 'blur'; choose one of sample, flip, "),
        ("flip", {"fraction": 1.5}, "RCL: flipping: fraction must be a number from 0 to 1, not 1.5"),
        ("flip", {"fraction": float("nan")}, "fraction must be a number from 0 to 1, not nan"),
        ("flip", {"share": 1}, "share: there is no setting .*; choose one of fraction, per_class, exact"),
        ("flip", {"exact": "perhaps"}, "exact must be yes or no, not 'perhaps'"),
        ("skeleton", {"n": 1}, "n: there is no setting of that name; there are none"),
        ("dilate", {"n": 1.5}, "n must be a whole number from 0 to 1000, not 1.5"),
        ("erode", {"n": -1}, "n must be a whole number from 0 to 1000, not -1"),
        ("boundary", {"correlation": 0}, "correlation must be a number above 0 and up to 10000, not 0"),
        ("sample", {"per_class": {0: 0.1, 1: 1.1}}, "share of class 1 must lie between 0 and 1, not 1.1"),
        ("sample", {"per_class": {255: 0.1}}, "255 is no class"),
        ("sample", {"per_class": {}}, "are empty"),
        ("sample", {"per_class": "half"}, "per_class must be a number for each class, not 'half'"),
        ("sample", {"per_class": 0.5}, "per_class must be a number for each class, not 0.5"),
        ("random", {"per_class": {0: 0.3, 1: 0.3, 2: 0.3}}, "classes 0, 1 and 2 must add up to 1, not 0.9"),
        ("matrix", {"matrix": [[1, 0]]}, "must be square: .* row 1 has the length 2"),
        ("matrix", {"matrix": [[1, 0], [1]]}, "must be square: .* row 2 has the length 1"),
        ("matrix", {"matrix": [[1]]}, "two rows at least"),
        ("matrix", {"matrix": []}, "two rows at least"),
        ("matrix", {"matrix": [[1, 0], [1.2, -0.2]]}, "in row 2 .* must lie between 0 and 1, not 1.2"),
        ("matrix", {"matrix": [[1, 0], [0.5, 0.4]]}, "Row 2 .* must add up to 1, not 0.9"),
        ("matrix", {"matrix": 5}, "matrix must be rows of numbers, not 5"),
    ],
)
def test_dials_that_cannot_be_turned_so_far(kind, dials, words):
    with pytest.raises(InputError, match=words) as caught:
        make_recipe(kind, **dials)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "labels", "classes", "words"),
    [
        (Flip(), np.zeros((4, 4)), None, "pixels of type float64 are no labels"),
        (Dilate(), np.full((4, 4), -1), None, "the label -1 is negative"),
        (Sample(), np.full((2, 4, 4), 255), None, "every pixel is 255, unlabelled"),
        (Dilate(), np.full((2, 4, 4), 255), (0, 1), "every pixel is 255, unlabelled"),
        (Flip(), np.zeros((4, 4), int), None, "two classes at least; there is only class 0"),
        (Flip(), np.eye(4, dtype=int) * 3, (0, 1), "the label 3 is none of the classes 0 and 1"),
        (Flip(per_class={2: 0.1}), np.eye(4, dtype=int), None, "names class 2, which is absent"),
        (FlipByMatrix(matrix=THREE), np.eye(4, dtype=int), None, "3 x 3 .* does not fit the classes 0 and 1"),
        (Random(), np.zeros((4, 4), int), None, "two classes at least; there is only class 0"),
        (Random(), np.eye(4, dtype=int), (0, 1, 2), "set per_class, a probability for each of 0, 1 and 2"),
        (Random(), np.eye(4, dtype=int), (1, 0), "must be ascending"),
    ],
)
def test_labels_that_a_recipe_does_not_suit(recipe, labels, classes, words):
    with pytest.raises(InputError, match=words) as caught:
        apply(recipe, labels, 0, classes)
    assert "\n" not in str(caught.value)


def test_a_seed_is_not_negative():
    with pytest.raises(InputError, match="The seed must be a whole number from 0, not -1"):
        apply(Flip(), np.eye(4, dtype=int), -1)


def test_a_menu_of_recipes_does_not_wait_for_heavy_libraries():
    code = (
        "import sys; import napari_metastructure.labels.recipes; "
        "print([m for m in ('scipy', 'skimage', 'torch', 'napari', 'qtpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", RECIPES)
def test_a_label_stack_is_drawn_as_its_planes_are(kind, stack):
    recipe = make_recipe(kind, **OF_THREE.get(kind, {}))
    *progress, noisy = apply_to_stack(recipe, LabelStack(stack, "classes"), 7)
    assert [(p.done, p.of) for p in progress] == [(k, 12) for k in range(1, 13)]
    np.testing.assert_array_equal(noisy.labels, apply(recipe, stack, 7))
    assert (noisy.labels.dtype, noisy.classes) == (np.uint8, (0, 1, 2))
    assert noisy.checksums == tuple(map(checksum, stack.reshape(-1, 40, 50)))
    closed = recipe.transition((0, 1, 2))
    expected = estimate_transition_matrix(stack, noisy.labels) if closed is None else closed
    np.testing.assert_array_equal(noisy.transition.matrix, expected.matrix)
    assert (noisy.transition.counts is None) == (closed is not None)


def test_a_label_stack_is_read_before_noise_is_drawn():
    labels = np.zeros((2, 8, 9), np.int32)
    labels[0, :2], labels[1, :2] = 255, 7
    *_, noisy = apply_to_stack(Flip(fraction=0), LabelStack(labels, "foreground"), 0)
    np.testing.assert_array_equal(noisy.labels, LabelStack([labels], "foreground").read(0))
    *_, noisy = apply_to_stack(Dilate(n=0), LabelStack(labels // 255 * 300, "classes"), 0)
    assert noisy.labels.dtype == np.uint16 and noisy.classes == (0, 300)


def test_noise_of_a_stack_can_be_stopped_and_is_refused_before_it_is_drawn(stack):
    steps = apply_to_stack(Flip(), LabelStack(stack, "classes"), 7)
    assert next(steps).done == 1
    steps.close()
    steps = apply_to_stack(FlipByMatrix(), LabelStack(stack, "classes", name="Cells"), 7)
    assert [next(steps).done for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match="does not fit the classes 0, 1 and 2"):
        next(steps)


def test_too_large_a_stack_is_told_with_its_size(stack, monkeypatch):
    empty = np.empty

    def too_large(shape, *args, **more):
        if shape == stack.shape:
            raise MemoryError
        return empty(shape, *args, **more)

    monkeypatch.setattr(np, "empty", too_large)
    with pytest.raises(InputError, match=r"^Cells: its noisy labels need 0\.0 GiB"):
        list(apply_to_stack(Flip(), LabelStack(stack, "classes", name="Cells"), 7))


def test_names_of_recipes():
    named = {
        "RCL flip 0.45": Flip(),
        "RCL flip per class": Flip(per_class={0: 0.1, 1: 0.2}),
        "RCL matrix": FlipByMatrix(),
        "PCL boundary 3 20": make_recipe("boundary"),
        "PCL skeleton": make_recipe("skeleton"),
        "RL random 0.5": Random(),
    }
    assert {recipe_name(recipe): recipe for recipe in named.values()} == named
