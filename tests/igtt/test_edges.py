"""The rank of outlines against masks made one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_metastructure.igtt.candidates import search
from napari_metastructure.igtt.edges import Edges, outline_rank, steepness

grids = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=16))


def one_by_one(p, threshold, steep):
    """Mean steepness over the neighbours that the outline parts, pair by pair."""
    mask, found = p > threshold, []
    for y, x in np.ndindex(p.shape):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < p.shape[0] and u < p.shape[1] and mask[y, x] != mask[v, u]:
                found.append((steep[y, x] + steep[v, u]) / 2)
    return np.mean(found) if found else 0


@given(p=grids, steep=grids, k=st.integers(1, 12))
def test_all_thresholds_at_once_are_all_thresholds_one_by_one(p, steep, k):
    t = np.linspace(0, 1, k)
    np.testing.assert_allclose(outline_rank(p, t, steep), [one_by_one(p, x, steep) for x in t], atol=1e-6)


def test_the_right_outline_ranks_above_a_wider_and_a_narrower_one(blobs):
    image, mask = blobs[0][0], blobs[1][0]
    masks = [mask, ndi.binary_dilation(mask, iterations=3), ndi.binary_erosion(mask, iterations=3)]
    steep = steepness(image)
    ranks = [outline_rank(m, np.array([0.5]), steep)[0] for m in masks]
    assert ranks[0] > max(ranks[1:]) + 0.05


def test_the_right_mask_scores_above_wider_narrower_partial_and_random_ones(blobs):
    image, mask = blobs[0][0], blobs[1][0]
    part = mask.copy()
    part[:, part.shape[1] // 2 :] = False
    noise = np.random.default_rng(0).random(mask.shape) < 0.5
    none, all_ = np.zeros_like(mask), np.ones_like(mask)
    others = [ndi.binary_dilation(mask, iterations=4), ndi.binary_erosion(mask, iterations=4), part, noise, none, all_]
    scores = np.array([Edges(image).score(m) for m in (mask, *others)])
    assert scores[0] > scores[1:].max() + 0.05
    assert scores[-2] == scores[-1] == 0


def test_the_edge_criterion_cuts_a_blurred_probability_where_the_image_is_steep():
    y, x = np.mgrid[:96, :96]
    distance = np.hypot(y - 48, x - 48)
    image = (distance < 20) * 1.0 + np.random.default_rng(0).normal(0, 0.05, distance.shape)
    p = (1 / (1 + np.exp((distance - 24) / 4))).astype(np.float32)  # its half lies four pixels too far out
    half, edge = (p > search(p, c, steep=steepness(image)).chosen for c in ("correlation", "edge"))
    truth = distance < 20
    assert (edge ^ truth).sum() < 0.5 * (half ^ truth).sum()


@pytest.mark.parametrize("plane", [np.zeros((20, 20)), np.eye(20), np.ones((8, 90))])
def test_planes_with_little_in_them(plane):
    steep = steepness(plane)
    assert steep.shape == plane.shape and np.isfinite(steep).all()
    assert (outline_rank(np.zeros(plane.shape), np.array([0.5]), steep) == 0).all()
