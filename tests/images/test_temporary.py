"""Arrays that lie in unnamed files read as those they were made from."""

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.images.temporary import TemporaryPlane, memory_mapped

PIXELS = np.random.default_rng(0).integers(0, 1000, (300, 310), dtype=np.uint16)


def test_arrays_in_a_file_and_rows_of_a_plane(tmp_path):
    arrays = [PIXELS, PIXELS[:5] > 7, np.zeros((0, 3), np.float32)]
    views = memory_mapped(iter(arrays), tmp_path)
    for view, array in zip(views, arrays, strict=True):
        np.testing.assert_array_equal(view, array)
    spool = TemporaryPlane((300, 310), np.float16, tmp_path)
    for first in range(0, 300, 77):
        spool.write(first, PIXELS[first : first + 77])
    np.testing.assert_array_equal(spool[100:200], PIXELS[100:200].astype(np.float16))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="the folder does not exist"):
        TemporaryPlane((3, 3), np.uint8, tmp_path / "none")
    with pytest.raises(InputError, match="the folder does not exist"):
        memory_mapped(arrays, tmp_path / "none")
