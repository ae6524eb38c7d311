"""Differentiable feature clustering on images whose clusters are known."""

import numpy as np
import pytest
import torch

from napari_metastructure.baselines.dfc import DFCConfig, _step, dfc
from napari_metastructure.baselines.methods import foreground, oracle
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.metrics import dice

SMALL = DFCConfig(channels=12, iterations=60)


def finish(steps):
    """What a job yields, and what it returns."""
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            return shares, end.value


def cluster(plane, config=SMALL, seed=0):
    return finish(dfc(plane, config, seed, "cpu", Control()))


@pytest.fixture(scope="module")
def discs():
    """A noisy plane of two intensities and where it is bright."""
    y, x = np.mgrid[:64, :72]
    mask = np.hypot(y - 20, x - 24) < 12
    mask |= np.hypot(y - 45, x - 52) < 10
    noise = np.random.default_rng(0).normal(0, 0.15, mask.shape)
    return (mask + noise).astype(np.float32), mask


def test_two_noisy_intensities_become_two_clusters(discs):
    plane, mask = discs
    shares, clusters = cluster(plane, SMALL.model_copy(update={"min_clusters": 2}))
    assert clusters.shape == plane.shape and clusters.dtype == np.int32
    assert clusters.min() >= 0 and clusters.max() < SMALL.channels
    assert len(shares) <= SMALL.iterations and shares[-1] == 1
    assert shares == sorted(shares)
    # Smoothing costs about a pixel of outline, which is 0.09; everything as foreground has 0.27.
    assert dice(foreground(clusters, plane)[0], mask) > 0.85
    assert oracle(clusters, mask) > 0.85


def test_it_stops_once_few_enough_clusters_are_left(discs):
    plane, _ = discs
    shares, clusters = cluster(plane, SMALL.model_copy(update={"iterations": 400, "min_clusters": 6}))
    assert len(shares) < 400 and len(np.unique(clusters)) <= 6
    _, longer = cluster(plane, SMALL.model_copy(update={"iterations": 3, "min_clusters": 1}))
    assert len(np.unique(longer)) > 6


def test_the_loss_is_that_of_the_paper(discs):
    """One step down the gradient lowers the weight of a map that is known by as much as its gradient says."""
    values = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    responses = torch.nn.Parameter(values.clone())

    class Given(torch.nn.Module):
        def forward(self, image):
            return responses * 1

    _step(Given(), torch.zeros(1, 1, 5, 4), torch.optim.SGD([responses], 1.0), DFCConfig(continuity=2.5))
    found = (values - responses.detach()).double().numpy()[0]

    def loss(r):
        r = r.reshape(3, 5, 4)
        best = np.argmax(values.numpy()[0], axis=0)
        likelihood = np.take_along_axis(r, best[None], 0)[0] - np.log(np.exp(r).sum(0))
        return -likelihood.mean() + 2.5 * (np.abs(np.diff(r, axis=1)).mean() + np.abs(np.diff(r, axis=2)).mean())

    r, h = values.double().numpy().ravel(), 1e-6
    expected = [(loss(r + h * e) - loss(r - h * e)) / (2 * h) for e in np.eye(r.size)]
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)


def test_the_seed_alone_decides(discs):
    plane, _ = discs
    config = SMALL.model_copy(update={"iterations": 8})
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    _, first = cluster(plane, config)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, cluster(plane, config)[1])
    assert (first == cluster(3 * plane - 7, config)[1]).mean() > 0.99  # brightness and contrast say nothing
    assert (first != cluster(plane, config, seed=1)[1]).any()


def test_a_large_plane_is_clustered_at_reduced_size_and_comes_back_at_its_own(discs):
    plane, mask = discs
    large, truth = np.kron(plane, np.ones((3, 3), np.float32))[:-1], np.kron(mask, np.ones((3, 3), bool))[:-1]
    _, clusters = cluster(large, SMALL.model_copy(update={"max_pixels": plane.size, "min_clusters": 2}))
    assert clusters.shape == large.shape
    assert oracle(clusters, truth) > 0.85


@pytest.mark.parametrize("shape", [(17, 40), (8, 8), (8, 900)])
def test_odd_sizes(shape):
    plane = np.random.default_rng(0).random(shape, np.float32)
    assert cluster(plane, DFCConfig(channels=4, iterations=3, max_pixels=500))[1].shape == shape


def test_a_constant_plane_breaks_nothing():
    plane = np.full((20, 24), 5, np.float32)
    _, clusters = cluster(plane, DFCConfig(channels=4, iterations=5))
    assert not foreground(clusters, plane)[0].any()


def test_it_stops_when_told(discs):
    control = Control()
    steps = dfc(discs[0], SMALL.model_copy(update={"min_clusters": 1}), 0, "cpu", control)
    next(steps)
    control.stop()
    with pytest.raises(Stopped):
        next(steps)


def test_what_a_user_may_get_wrong_is_said(discs):
    with pytest.raises(InputError, match="cuda:77"):
        next(dfc(discs[0], SMALL, 0, "cuda:77", Control()))


def test_a_lack_of_memory_is_said(discs):
    class Greedy(torch.nn.Module):
        def forward(self, image):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    with pytest.raises(RunFailed, match="max_pixels"):
        _step(Greedy(), torch.zeros(1, 1, 5, 4), optimizer, SMALL)
