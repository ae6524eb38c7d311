from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from threadpoolctl import threadpool_info

from napari_metastructure.images.blur import gaussian


@given(st.integers(1, 200), st.integers(1, 40), st.sampled_from([0.7, 1.5, 4.0, 16.0, 32.5]))
def test_blurs_are_those_of_scipy(height: int, width: int, scale: float) -> None:
    plane = np.random.default_rng(height * 41 + width).normal(3, 50, (height, width))
    found = gaussian(plane, scale)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(found, ndi.gaussian_filter(plane, scale), rtol=1e-5, atol=1e-4)


def test_a_pixel_far_brighter_than_all_others_disturbs_none_beyond_its_reach() -> None:
    plane = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    bright = plane.copy()
    bright[100, 100] = 1e9
    near = ndi.gaussian_filter(np.where(bright > 1, 1.0, 0.0), 4) > 0
    np.testing.assert_array_equal(gaussian(bright, 4)[~near], gaussian(plane, 4)[~near])


def test_nothing_is_blurred_at_zero_and_the_plane_is_not_changed() -> None:
    plane = np.arange(12, dtype=np.uint16).reshape(3, 4)
    found = gaussian(plane, 0)
    np.testing.assert_array_equal(found, plane)
    assert found.dtype == np.float32


def test_several_at_once_leave_the_number_of_threads_as_it_was() -> None:
    before = [(library["user_api"], library["num_threads"]) for library in threadpool_info()]
    planes = [np.random.default_rng(seed).random((300, 200)) for seed in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda plane: gaussian(plane, 8), planes))
    assert [(library["user_api"], library["num_threads"]) for library in threadpool_info()] == before
    for plane, blurred in zip(planes, found, strict=True):
        np.testing.assert_array_equal(blurred, gaussian(plane, 8))
