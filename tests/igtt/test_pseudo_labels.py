"""Memory, and the balance between start and network."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.labels import UNLABELLED


def made(blobs, **settings):
    images, masks = blobs
    right = [ndi.gaussian_filter(m.astype(np.float32), 0.7) for m in masks]
    wrong = [np.roll(p, 9, axis=1) for p in right]

    def begin(start):
        labels = PseudoLabels(start, IGTTConfig(**settings), np.random.default_rng(0), images)
        labels.begin()
        return labels

    return right, wrong, begin


def test_the_memory_is_the_running_mean(blobs):
    right, wrong, begin = made(blobs, memory=0.75, anchor=0, criterion="correlation")
    labels = begin(right)
    labels.update(right)
    labels.update(wrong)
    for e, r, w in zip(labels.evidence, right, wrong, strict=True):
        np.testing.assert_allclose(e, 0.75 * r + 0.25 * w, atol=2e-3)


@pytest.mark.parametrize(("weight", "at_half"), [(0.0, True), (0.5, False), (1.0, False)])
def test_where_strokes_alone_count_their_answer_is_cut_at_one_half(blobs, weight, at_half):
    right, _, begin = made(blobs, start_weight=weight)
    labels = begin(right)
    answer = [p * 0.4 + 0.3 * ndi.gaussian_filter(p, 6) for p in right]
    labels.steer(answer)
    halves = [(p.astype(np.float16) > 0.5).astype(np.uint8) for p in answer]
    assert all(np.array_equal(m, h) for m, h in zip(labels.masks, halves, strict=True)) == at_half
    labels.steer([])  # all strokes were taken back
    for mask, p in zip(labels.masks, right, strict=True):
        assert np.mean(mask == (p > 0.5)) > 0.97


@pytest.mark.parametrize("anchor", [0.0, 0.3, 1.0])
def test_a_fixed_balance_is_the_anchor(blobs, anchor):
    right, wrong, begin = made(blobs, anchor=anchor, balance="fixed")
    labels = begin(right)
    labels.update(wrong)
    for e, r, w in zip(labels.evidence, right, wrong, strict=True):
        np.testing.assert_allclose(e, anchor * r + (1 - anchor) * w, atol=2e-3)


def test_the_balance_moves_to_the_one_the_edges_confirm(blobs):
    right, wrong, begin = made(blobs, anchor=0.5, balance="edges")
    for start, network, expected in ((right, wrong, right), (wrong, right, right)):
        labels = begin(start)
        labels.update(network)
        for mask, p in zip(labels.masks, expected, strict=True):
            assert np.mean(mask == (p > 0.5)) > 0.97


def test_agreement_is_one_when_nothing_changes_and_low_when_all_does(blobs):
    right, wrong, begin = made(blobs, anchor=0, memory=0)
    labels = begin(right)
    assert labels.update(right) > 0.99
    assert labels.update(wrong) < 0.8


@pytest.mark.parametrize("criterion", ["level", "edge", "dmi"])
def test_what_is_remembered_of_the_surround_is_nothing(criterion):
    rng = np.random.default_rng(0)
    planes = [rng.normal(size=(32, 40)).astype(np.float32)]
    outside = np.zeros((32, 40), bool)
    outside[:, :9] = True
    config = IGTTConfig(criterion=criterion)
    labels = PseudoLabels([rng.random((32, 40))], config, np.random.default_rng(0), planes, [outside])
    labels.begin()
    for _ in range(2):
        labels.update([np.where(outside, 1, rng.random((32, 40))).astype(np.float32)])
        assert not labels.masks[0][outside].any() and labels.masks[0].any()
        assert not labels.evidence[0][outside].any()
        assert (labels.labels[0][outside] == UNLABELLED).all()
    again = PseudoLabels([], config, np.random.default_rng(0), planes, [outside])
    again.restore(labels.state())
    np.testing.assert_array_equal(again.masks[0], labels.masks[0])
    np.testing.assert_array_equal(again.labels[0], labels.labels[0])
