"""Masked convolutions, the mutual information of two outputs, and clustering by both."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from napari_metastructure.baselines.autoregressive import (
    ORDERINGS,
    ACConfig,
    AutoregressiveNetwork,
    MaskedConv,
    _step,
    autoregressive,
    mutual_information,
)
from napari_metastructure.baselines.methods import foreground
from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.metrics import dice

SMALL = ACConfig(channels=8, blocks=2, steps=40, patch_size=32, learning_rate=5e-3)
SHAPE = (15, 17)


def place(ordering, shape=SHAPE):
    """When each pixel is read: found by reading the image as the ordering is described."""
    lines, down, along = ORDERINGS[ordering]
    rows, columns = shape
    read = np.zeros(shape, int)
    between, within = (rows, columns) if lines == "rows" else (columns, rows)
    for time, (line, spot) in enumerate(itertools.product(range(between)[::down], range(within)[::along])):
        read[(line, spot) if lines == "rows" else (spot, line)] = time
    return read


def network(seed=0):
    """A network that has seen images, so that its statistics are no identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = AutoregressiveNetwork(8, 3, 2)
        with torch.no_grad():
            net(torch.randn(2, 1, *SHAPE), 0)
    return net.double().eval()


def changed(net, ordering, pixel):
    """Where the output changes if one pixel does."""
    x = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x.clone()
    y[0, 0, *pixel] += 1
    with torch.no_grad():
        return (net(x, ordering) != net(y, ordering))[0].any(0).numpy()


def test_the_eight_orderings_differ():
    assert len({place(o).tobytes() for o in range(len(ORDERINGS))}) == 8


@pytest.mark.parametrize("ordering", range(8))
@pytest.mark.parametrize("pixel", [(7, 8), (0, 0), (14, 3), (5, 16)])
def test_a_pixel_changes_itself_and_later_ones_and_none_before(ordering, pixel):
    net, read = network(), place(ordering)
    reached = changed(net, ordering, pixel)
    now = read[pixel]
    assert reached[pixel]
    assert not reached[read < now].any()
    line = read // (SHAPE[1] if ORDERINGS[ordering][0] == "rows" else SHAPE[0])
    assert reached[(line == line[pixel]) & (read > now) & (read <= now + 8)].all()  # the rest of the line
    y, x = np.indices(SHAPE)
    near = (abs(y - pixel[0]) <= 1) & (abs(x - pixel[1]) <= 1)
    assert reached[near & (line > line[pixel])].all()  # the line that follows


@pytest.mark.parametrize("pixel", [(7, 8)])
def test_without_an_ordering_the_window_is_whole_and_centred(pixel):
    reached = changed(network(), None, pixel)
    assert reached[3:12, 4:13].all()
    one = changed(MaskedConv(1, 1).double(), None, pixel)
    np.testing.assert_array_equal(np.argwhere(one), [(y, x) for y in (6, 7, 8) for x in (7, 8, 9)])


@pytest.mark.parametrize("ordering", range(8))
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_masked_convolution_looks_at_eight_pixels_of_two_lines_back(ordering, dilation):
    conv, read = MaskedConv(1, 1, dilation).double(), place(ordering)
    lines, down, along = ORDERINGS[ordering]
    offsets = [(b, w) for b in (-2, -1, 0) for w in (-1, 0, 1) if (b, w) != (0, 1)]
    expected = {(b * down, w * along) if lines == "rows" else (w * along, b * down) for b, w in offsets}
    x = torch.zeros(1, 1, *SHAPE, dtype=torch.float64, requires_grad=True)
    conv(x, ordering)[0, 0, 7, 8].backward()
    seen = np.argwhere(x.grad[0, 0].numpy())
    assert {tuple(int(v) for v in (p - (7, 8)) // dilation) for p in seen} == expected
    assert all(read[*p] <= read[7, 8] for p in seen)


def one_hot(labels, classes):
    """(N, K, Y, X) probabilities that are sure."""
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).permute(0, 3, 1, 2).double()


@pytest.mark.parametrize("classes", [2, 5])
def test_identical_sure_outputs_of_even_classes_share_log_k(classes):
    labels = np.arange(classes * 12).reshape(1, classes * 2, 6) % classes
    p = one_hot(labels, classes)
    assert float(mutual_information(p, p)) == pytest.approx(np.log(classes), abs=1e-6)
    other = one_hot((labels + 1) % classes, classes)  # a renaming for two classes
    assert float(mutual_information(p, other)) == pytest.approx(np.log(classes), abs=1e-6) or classes > 2


def test_independent_outputs_share_nothing():
    p = torch.tensor([0.75, 0.25]).double()[None, :, None, None].expand(2, 2, 8, 8)
    q = one_hot(np.random.default_rng(0).permutation(128).reshape(2, 8, 8) % 4 // 3, 2)
    assert float(mutual_information(p, q)) == pytest.approx(0, abs=1e-6)
    y, x = np.indices((8, 8))
    assert float(mutual_information(one_hot((y % 2)[None], 2), one_hot((x % 2)[None], 2))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("joint", ["patch", "batch"])
@pytest.mark.parametrize("displacement", [0, 1, 2])
def test_sure_outputs_share_what_scikit_learn_says_of_their_pairs(displacement, joint):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, (2, 2, 9, 7))
    b = np.where(rng.random(b.shape) < 0.6, a, b)
    expected = []
    for dy, dx in itertools.product(range(-displacement, displacement + 1), repeat=2):
        pairs = [[], []]
        for n, y, x in np.ndindex(a.shape):
            if 0 <= y + dy < a.shape[1] and 0 <= x + dx < a.shape[2]:
                k, j = a[n, y, x], b[n, y + dy, x + dx]
                pairs[n] += [(k, j), (j, k)]  # both ways: the joint is symmetric
        for some in pairs if joint == "patch" else [pairs[0] + pairs[1]]:
            expected.append(mutual_info_score(*zip(*some, strict=True)))
    found = mutual_information(one_hot(a, 3), one_hot(b, 3), displacement, joint)
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-6)


def test_patches_of_one_class_each_share_nothing_within_themselves():
    p = one_hot(np.array([0, 1])[:, None, None] * np.ones((1, 5, 5), int), 2)
    assert float(mutual_information(p, p, joint="patch")) == pytest.approx(0, abs=1e-6)
    assert float(mutual_information(p, p, joint="batch")) == pytest.approx(np.log(2), abs=1e-6)


def finish(steps):
    """What a job yields, and what it returns."""
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            return shares, end.value


def cluster(planes, config=SMALL, seed=0):
    return finish(autoregressive(planes, config, seed, "cpu", Control()))


@pytest.fixture(scope="module")
def stripes():
    """Noisy planes of two sizes and where they are bright."""
    planes, masks = [], []
    for seed, shape in enumerate([(48, 40), (40, 56)]):
        y, x = np.indices(shape)
        mask = (x + y) % 20 < 9
        planes.append((mask + np.random.default_rng(seed).normal(0, 0.3, shape)).astype(np.float32))
        masks.append(mask)
    return planes, masks


def test_two_noisy_intensities_become_two_classes_that_mean_the_same_everywhere(stripes):
    planes, masks = stripes
    shares, found = cluster(planes)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    bright = []
    for p, plane, mask in zip(found, planes, masks, strict=True):
        assert p.shape == (2, *plane.shape) and p.dtype == np.float32
        np.testing.assert_allclose(p.sum(axis=0), 1, atol=1e-5)
        clusters = p.argmax(axis=0)
        called = foreground(clusters, plane)[0]
        assert dice(called, mask) > 0.85
        bright.append(np.unique(clusters[called]).item())
    assert bright[0] == bright[1]


def test_the_seed_alone_decides(stripes):
    planes, config = stripes[0], SMALL.model_copy(update={"steps": 3})
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    _, first = cluster(planes, config)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    for a, b, other in zip(first, cluster(planes, config)[1], cluster(planes, config, seed=1)[1], strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - other).max() > 1e-3


@pytest.mark.parametrize("clusters", [2, 5])
def test_odd_sizes_and_a_constant_plane(clusters):
    rng = np.random.default_rng(0)
    planes = [rng.random((17, 40), np.float32), rng.random((8, 8), np.float32), np.full((33, 20), 3, np.float32)]
    config = ACConfig(clusters=clusters, channels=4, blocks=1, steps=2, displacement=10)
    _, found = cluster(planes, config)
    for p, plane in zip(found, planes, strict=True):
        assert p.shape == (clusters, *plane.shape) and np.isfinite(p).all()
    assert cluster(planes[1:2], config)[1][0].shape == (clusters, 8, 8)


def test_it_stops_when_told_in_training_and_in_predicting(stripes):
    for steps in (1, 5):
        control = Control()
        job = autoregressive(stripes[0], SMALL.model_copy(update={"steps": 4}), 0, "cpu", control)
        for _ in range(steps):
            next(job)
        control.stop()
        with pytest.raises(Stopped):
            next(job)


def test_what_a_user_may_meet_is_said(stripes):
    with pytest.raises(InputError, match="cuda:77"):
        next(autoregressive(stripes[0], SMALL, 0, "cuda:77", Control()))

    def greedy(images, ordering):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(RunFailed, match="batch_size"):
        _step(greedy, optimizer, torch.zeros(4, 1, 8, 8), (0, 1), SMALL)
