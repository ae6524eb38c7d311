"""Cost of predicting a plane, each against the straightforward way: read the ratios within a group.

pytest benchmarks/test_prediction.py --benchmark-group-by=group --benchmark-columns=min,median,rounds
pytest benchmarks/test_prediction.py -k memory -s          # peak memory of 1024 to 4096 pixels a side
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_metastructure.igtt import levels
from napari_metastructure.igtt.candidates import Steepness, search
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.networks import predict as lazy
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.predict import bands, class_probabilities

SIDE, PATCH, CPU = 768, (256, 256), torch.device("cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    field = ndi.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 4)
    return (100 * (field > 0.05) + rng.normal(300, 5, field.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return build(NetworkSpec(base_channels=16), 0).eval().to(memory_format=torch.channels_last)


@pytest.mark.benchmark(group="a plane of 768 x 768, light U-Net, tiles of 256")
@pytest.mark.parametrize("way", ["network on as many tiles, nothing else", "blended, whole", "blended, in bands"])
def test_blending(benchmark, image, network, way):
    """How much cutting and blending add to the network itself."""
    inputs = network_inputs(image, "zscore", "bright")
    tiles = torch.from_numpy(np.ascontiguousarray(inputs[None, :, :256, :256]))  # 4 x 4 of them at an overlap of 1/4

    def alone() -> int:
        with torch.inference_mode():
            return sum(len(torch.sigmoid(network(tiles.expand(4, -1, -1, -1)))) for _ in range(4))

    ways = {
        "network on as many tiles, nothing else": alone,
        "blended, whole": lambda: class_probabilities(network, inputs, PATCH, CPU).size,
        "blended, in bands": lambda: sum(band.size for _, band in bands(network, inputs, PATCH, CPU)),
    }
    assert benchmark.pedantic(ways[way], rounds=3, warmup_rounds=1) > 0


@pytest.mark.benchmark(group="memory layout of the light U-Net's weights, 4 tiles of 256")
@pytest.mark.parametrize("way", ["contiguous", "channels last"])
def test_layout(benchmark, way):
    layout = torch.channels_last if way == "channels last" else torch.contiguous_format
    network = build(NetworkSpec(base_channels=16), 0).eval().to(memory_format=layout)
    x = torch.zeros(4, 1, 256, 256)
    with torch.inference_mode():
        assert len(benchmark.pedantic(lambda: network(x), rounds=3, warmup_rounds=1)) == 4


@pytest.mark.benchmark(group="multiscale inputs of 768 x 768")
@pytest.mark.parametrize("way", ["whole", "statistics first, then rows as tiles ask for them"])
def test_inputs(benchmark, image, way):
    def rows() -> int:
        made = lazy.LazyInputs(image, "multiscale", "bright")
        return sum(made[:, top : top + 256].size for top in (0, 171, 341, 512))

    ways = {"whole": lambda: network_inputs(image, "multiscale", "bright").size}
    assert benchmark.pedantic(ways.get(way, rows), rounds=3, warmup_rounds=1) > 0


@pytest.mark.benchmark(group="threshold by iGTT's edge criterion, 768 x 768")
@pytest.mark.parametrize("way", ["at once", "in blocks"])
def test_threshold(benchmark, image, way, monkeypatch):
    p = (1 / (1 + np.exp(-(ndi.gaussian_filter(image, 2) - 340) / 20))).astype(np.float32)
    if way == "in blocks":
        monkeypatch.setattr(levels, "PIXELS", 768 * 96)
    find = lambda: search(p, "edge", steep=Steepness(image)).chosen  # noqa: E731
    assert 0 < benchmark.pedantic(find, rounds=3, warmup_rounds=1) < 1


MEMORY = """
import resource, sys
import numpy as np
from napari_metastructure.igtt.apply import load_model

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

path, side = sys.argv[1], int(sys.argv[2])
model, rng = load_model(path), np.random.default_rng(0)
model.predict(rng.random((256, 256), dtype=np.float32), "cpu")
image = rng.random((side, side), dtype=np.float32)
before = peak()
model.predict(image, "cpu")
print(before, peak(), image.nbytes)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is not there")
@pytest.mark.parametrize("inputs", ["zscore", "multiscale"])
def test_memory(tmp_path, inputs):
    """Peak memory beside the image, of an iGTT model with the edge criterion (it keeps the probability)."""
    from napari_metastructure.images.intensity import channels_of
    from napari_metastructure.networks.model_file import Use, save_model

    spec = NetworkSpec(in_channels=channels_of(inputs), base_channels=4)
    use = Use(inputs=inputs, patch=PATCH, cut="edge")
    path: Path = save_model(tmp_path / "model.safetensors", build(spec, 0), spec, use)
    beyond = {}
    for side in (1024, 2048, 4096):
        command = [sys.executable, "-c", MEMORY, str(path), str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, peak, image = map(int, done.stdout.split())
        beyond[side] = peak - image
        print(
            f"{inputs}, {side} x {side}: {beyond[side] / 2**20:.0f} MiB beside the image, {before / 2**20:.0f} before"
        )
    per_pixel = (beyond[4096] - beyond[2048]) / (4096**2 - 2048**2)
    assert beyond[4096] + per_pixel * (8192**2 - 4096**2) < 2e9  # what 8192 x 8192 would take
