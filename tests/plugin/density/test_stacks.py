"""Densities of whole stacks."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._density_model import PlaneDone, Stack, StacksDone, stacks_job
from napari_metastructure.training.control import Control


def run(layers, control=None, label_class=1, reading="foreground", bandwidth=(4.0, 4.0)):
    stacks = [Stack.of(layer, layer.data, False, bandwidth) for layer in layers]
    return list(stacks_job(stacks, label_class, "box", False, reading, control or Control())())


def test_each_plane_is_its_own_density(disc, counted):
    stack = np.stack([disc(32, 6), disc(32, 10), np.zeros((32, 32), np.uint8)])
    *steps, done = run([Labels(stack), Labels(disc(32, 8))])
    assert steps == [PlaneDone(n, 4) for n in (1, 2, 3, 4)]
    assert isinstance(done, StacksDone)
    (_, _, first), (_, _, second) = done.maps
    np.testing.assert_allclose(first[0], counted(stack[0], 4), atol=1e-7)
    np.testing.assert_allclose(first[1], counted(stack[1], 4), atol=1e-7)
    assert not first[2].any()
    assert second.shape == (32, 32)
    assert done.top == max(first.max(), second.max())


def test_it_ends_when_it_is_told_to(disc):
    control = Control()
    job = stacks_job([Stack.of(layer := Labels(np.stack([disc()] * 3)), layer.data, False, (4, 4))], 1, "box", False,
                     "foreground", control)()  # fmt: skip
    next(job)
    control.stop()
    assert list(job) == []


def test_all_classes_have_a_stack_each(disc):
    stack = np.stack([disc(label=1), disc(label=3)])
    *_, done = run([Labels(stack)], label_class=None, reading="classes")
    assert [(label, values.any(axis=(1, 2)).tolist()) for _, label, values in done.maps] == [
        (1, [True, False]),
        (3, [False, True]),
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"label_class": 2}, "Layer 'a' has no pixel of class 2 on any slice"),
        ({"bandwidth": (400.0, 4.0)}, "Layer 'a'.*larger than the image"),
    ],
)
def test_what_is_wrong_is_told(disc, options, why):
    with pytest.raises(InputError, match=why):
        run([Labels(np.stack([disc()] * 2), name="a")], **options)


def test_too_much_for_memory_is_told(disc):
    endless = np.broadcast_to(disc(), (10**4, 10**4, 10**4, 48, 48))
    stack = Stack("a", endless, True, (4.0, 4.0), {})
    with pytest.raises(InputError, match=r"'a' need 8583068.8 GiB of memory"):
        list(stacks_job([stack], 1, "box", False, "foreground", Control())())
