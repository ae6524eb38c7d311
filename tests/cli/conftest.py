"""The command line called in-process, and small pictures to call it on."""

import numpy as np
import PIL.Image
import pytest

from napari_metastructure.cli.main import main
from napari_metastructure.images.read_options import set_read_options


@pytest.fixture
def run(capsys):
    """Call ``metastructure ARGUMENTS``; gives exit code, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    yield call
    set_read_options()  # which hold for the process


@pytest.fixture(scope="session")
def blobs():
    """A (Y, X) uint8 image of bright discs on noise."""

    def make(shape=(40, 48), seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]]
        centres = rng.uniform(6, [shape[0] - 6, shape[1] - 6], (6, 2))
        inside = np.any([(y - b) ** 2 + (x - a) ** 2 < 16 for b, a in centres], axis=0)
        return (40 + 120 * inside + rng.normal(0, 8, shape)).clip(0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def save():
    """Save an array as picture, its folder made on the way."""

    def make(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(array).save(path)
        return path

    return make
