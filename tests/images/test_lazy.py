import numpy as np
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images import lazy, surround
from napari_metastructure.images.files import read_image
from napari_metastructure.images.image import planes
from napari_metastructure.images.intensity import is_blank
from napari_metastructure.images.lazy import as_plane, percentiles, value_range

RNG = np.random.default_rng(0)
FIELD = RNG.integers(0, 4000, (300, 310), dtype=np.uint16)


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 1000)


@pytest.mark.parametrize(
    "array",
    [FIELD, FIELD.astype(np.int16) - 2000, FIELD.astype(np.float32) - 2000.25, FIELD > 2000, np.zeros((9, 9), "f4")],
)
def test_statistics_of_rows_are_those_of_the_whole(array):
    plane, numbers = as_plane(array), array.astype(np.float32)
    wanted = (0, 1, 33.3, 50, 99.8, 100)
    np.testing.assert_allclose(percentiles(plane, wanted), np.percentile(numbers, wanted), rtol=1e-6)
    assert value_range(plane) == (numbers.min(), numbers.max())
    assert is_blank(plane) == is_blank(array)


def test_a_stack_of_channels_with_values_that_are_none():
    stack = np.stack([FIELD, FIELD[::-1]]).astype(np.float32)
    stack[1, 40:60, 7] = np.nan
    found, missing = surround.measured(as_plane(stack))
    expected, gone = surround.measured(stack)
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(np.asarray(missing), gone)
    assert surround.missing_share(as_plane(stack)) == pytest.approx(surround.missing_share(stack))


def test_the_surround_of_large_planes_is_that_of_small_ones(monkeypatch):
    y, x = np.indices((400, 420)) - 200
    disc = np.hypot(y, x) < 180
    field = np.where(disc, 500 + FIELD[:300, :300].repeat(2, 0).repeat(2, 1)[:400, :420] / 8, 0).astype(np.float32)
    small = surround.surround(field, "dark")
    monkeypatch.setattr(surround, "DETAILED", 400 * 420 // 4)
    found = surround.surround(as_plane(field), "dark")
    np.testing.assert_array_equal(np.asarray(found), surround.surround(field, "dark"))
    assert np.mean(np.asarray(found) != small) < 0.02
    np.testing.assert_array_equal(
        np.asarray(surround.fill(as_plane(field), found)), surround.fill(field, np.asarray(found))
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"tile": (64, 64), "compression": "zlib"}, {"rowsperstrip": 7, "compression": "lzw"}, {"byteorder": ">"}],
)
def test_windows_of_tiffs(tmp_path, all_large, options):
    if "compression" in options:
        pytest.importorskip("zarr")
    tifffile.imwrite(tmp_path / "x.tif", FIELD, **options)
    image = read_image(tmp_path / "x.tif", lazily=True)
    assert lazy.is_lazy(image.data)
    (plane,) = planes(image)
    np.testing.assert_array_equal(plane[10:200, 5:77], FIELD[10:200, 5:77])
    np.testing.assert_array_equal(np.asarray(plane), FIELD)
    assert plane.dtype == np.uint16


def test_stacks_colours_and_what_has_to_be_changed(tmp_path, all_large):
    stack = RNG.integers(0, 255, (2, 3, 40, 50), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    found = planes(read_image(tmp_path / "s.tif", lazily=True))
    np.testing.assert_array_equal(np.stack(list(map(np.asarray, found))), stack.reshape(6, 40, 50))
    colours = RNG.integers(0, 255, (60, 70, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", colours, photometric="rgb")
    lazily, eager = (read_image(tmp_path / "c.tif", lazily=choice) for choice in (True, False))
    for channel in (None, "green"):
        np.testing.assert_array_equal(np.asarray(planes(lazily, channel)[0]), planes(eager, channel)[0])
    tifffile.imwrite(tmp_path / "w.tif", FIELD, photometric="miniswhite")
    white = read_image(tmp_path / "w.tif", lazily=True)
    np.testing.assert_array_equal(white.data, 65535 - FIELD)


def test_a_file_that_vanishes_is_said_in_a_sentence(tmp_path, all_large):
    tifffile.imwrite(tmp_path / "x.tif", FIELD)
    image = read_image(tmp_path / "x.tif", lazily=True)
    (tmp_path / "x.tif").unlink()
    with pytest.raises(InputError, match=r"x\.tif is no longer there"):
        image.data[:10]
