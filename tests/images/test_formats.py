"""CZI, ND2, LIF and OME-Zarr: real files of CZI and OME-Zarr where the readers are installed, else a stand-in for them.

No library writes the formats of Nikon and Leica, and no file of theirs is kept here.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, noting, read_image, stem
from napari_metastructure.images.read_options import set_read_options

ENDINGS = {"czi": "bioio_czi", "nd2": "bioio_nd2", "lif": "bioio_lif"}
PIXELS = np.random.default_rng(0).integers(0, 4000, (2, 3, 24, 31), dtype=np.uint16)


@pytest.fixture(autouse=True)
def nothing_chosen():
    yield
    set_read_options()


@pytest.fixture
def place(tmp_path):
    """Make a file that claims to be one of a microscope."""

    def make(ending):
        path = tmp_path / f"x.{ending}"
        path.write_bytes(b"ZISRAWFILE")
        return path

    return make


class BioImage:
    """What `bioio.BioImage` offers of it, for scenes kept in memory."""

    scenes_of = ((PIXELS[:, None], "TCZYX"),)
    scale = SimpleNamespace(T=2.5, C=None, Z=0.3, Y=0.2, X=0.1)
    units = SimpleNamespace(T=None, Z=None, Y=None, X=None)

    def __init__(self, path, reader):
        assert reader == "reader"
        self.scenes = [f"Image:{i}" for i in range(len(self.scenes_of))]
        self.set_scene(self.scenes[0])

    def set_scene(self, name):
        self.data, order = self.scenes_of[self.scenes.index(name)]
        self.shape, self.dims, self.dtype = self.data.shape, SimpleNamespace(order=order), self.data.dtype

    @property
    def dimension_properties(self):
        return SimpleNamespace(**{axis: SimpleNamespace(unit=unit) for axis, unit in vars(self.units).items()})


@pytest.fixture
def stand_in(monkeypatch):
    """Put a stand-in for bioio and its readers in place."""

    def put(**facts):
        image = type("BioImage", (BioImage,), facts)
        monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=image))
        for name in ENDINGS.values():
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(Reader="reader"))

    return put


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_the_extra_it_is_said_how_to_install_it(place, monkeypatch, ending):
    path = place(ending)
    for name in ("bioio", *ENDINGS.values()):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf'x\.{ending} is .*pip install "napari-metastructure\[formats\]"'):
        read_image(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_they_are_listed_beside_others(place, ending):
    path = place(ending)
    tifffile.imwrite(path.with_name("a.tif"), PIXELS[0, 0])
    (path.parent / "folder").mkdir()
    assert list_images([path.parent]) == [path.with_name("a.tif"), path]
    assert list_images([path]) == [path]
    assert stem(path) == "x"


@pytest.mark.parametrize("ending", ["czi", "nd2", "lif"])
def test_pixels_axes_and_scale(place, stand_in, ending):
    stand_in()
    image = read_image(place(ending))
    assert (image.axes, image.scale) == ("TZYX", (2.5, 0.3, 0.2, 0.1))
    assert image.units == ("second", "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(image.data, PIXELS)


def test_units_of_the_file_hold(place, stand_in):
    stand_in(units=SimpleNamespace(T="minute", Z="nanometer", Y="nanometer", X="nanometer"))
    assert read_image(place("nd2")).units == ("minute", "nanometer", "nanometer", "nanometer")


def test_scenes_are_chosen_as_images_of_a_tiff_are(place, stand_in):
    overview, first, second, third = PIXELS[0, 0, ::2, ::2], PIXELS[0, 0], PIXELS[1, 0], PIXELS[0, 1]
    stand_in(scenes_of=[(plane[None, None, None], "TCZYX") for plane in (overview, first, second, third)])
    with noting() as notes:
        image = read_image(place("czi"))
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.data, np.stack([first, second, third]))
    assert "the 3 of 24 x 31 are read as frames of axis T; those of 12 x 16 are left out" in notes[0]
    set_read_options(series=2)
    np.testing.assert_array_equal(read_image(place("lif")).data, second)


def test_what_a_reader_raises_is_said_in_a_sentence(place, stand_in):
    class Broken(BioImage):
        def __init__(self, *args, **kwargs):
            raise KeyError("no such block\nat 12")

    stand_in()
    sys.modules["bioio"].BioImage = Broken
    with pytest.raises(InputError, match=r"x\.czi cannot be read by bioio_czi \(.*\); export it as OME-TIFF\."):
        read_image(place("czi"))


def needed(module):
    return pytest.importorskip(module, reason='needs the extra formats: pip install "napari-metastructure[formats]"')


def test_a_real_czi(tmp_path):
    needed("bioio_czi")
    with needed("pylibCZIrw.czi").create_czi(str(tmp_path / "x.czi")) as czi:
        for t, z in np.ndindex(PIXELS.shape[:2]):
            czi.write(PIXELS[t, z, ..., None], plane={"T": t, "Z": z, "C": 0})
        czi.write_metadata("x", scale_x=1e-7, scale_y=2e-7, scale_z=3e-7, channel_names={0: "DAPI"})
    image = read_image(tmp_path / "x.czi")
    assert image.axes == "TZYX"
    assert image.scale[1:] == pytest.approx((0.3, 0.2, 0.1))
    assert image.units[1:] == ("micrometer",) * 3
    np.testing.assert_array_equal(image.data, PIXELS)
