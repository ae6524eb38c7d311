"""Odd but valid files, made here: pixels, axes and scale as tifffile, Pillow and Fiji have them, and the rest told.

Each writer returns what the file means, worked out without the reader under test.
"""

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_metastructure.images.files import noting, read_image
from napari_metastructure.images.read_options import set_read_options

RNG = np.random.default_rng(0)
H, W = 24, 31
GREY = RNG.integers(0, 255, (H, W), dtype=np.uint8)
RGB = RNG.integers(0, 255, (H, W, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(H) * 3, np.arange(W) * 2).astype(np.uint8)  # survives lossy compression
UM = "micrometer"


@dataclass
class Means:
    """What a file means: pixels, axes, steps of some axes, a word of what must be told (None: nothing may be)."""

    data: np.ndarray | None
    axes: str = "YX"
    steps: dict[str, tuple[float, str]] | None = None
    told: str | None = None
    off: float = 0


CASES: dict[str, Callable[[Path], Means]] = {}


def case(name):
    def keep(write):
        CASES[name] = write
        return write

    return keep


@pytest.fixture(autouse=True)
def nothing_chosen():
    yield
    set_read_options()


def check(path, means, **options):
    with noting() as notes:
        image = read_image(path, **options)
    assert image.axes == means.axes
    if means.data is not None:
        assert image.data.shape == means.data.shape
        assert image.data.dtype == means.data.dtype.newbyteorder("=")
        if means.off:
            assert np.abs(image.data.astype(float) - means.data).max() <= means.off
        else:
            np.testing.assert_array_equal(image.data, means.data)
    found = {a: (s, u) for a, s, u in zip(image.axes, image.scale, image.units, strict=True)}
    for axis, (size, unit) in (means.steps or dict.fromkeys(image.axes, (1.0, "pixel"))).items():
        assert found[axis] == (pytest.approx(size, rel=1e-6), unit), (axis, found)
    assert not notes if means.told is None else any(means.told in note for note in notes), notes
    assert all("\n" not in note and note.endswith(".") for note in notes)


@pytest.mark.filterwarnings("ignore:.*are stored as RGB:DeprecationWarning")
def pytest_generate_tests(metafunc):
    if "odd" in metafunc.fixturenames:
        metafunc.parametrize("odd", CASES)


def test_odd_file(odd, tmp_path):
    path = tmp_path / ("x.png" if odd.startswith("picture") else "x.tif")
    check(path, CASES[odd](path))


# Types, compressions, layouts, byte orders.

TYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
)

for kind, big, order, tile in itertools.product(TYPES, (False, True), "<>", (False, True)):

    @case(f"type/{kind} big={big} {order} tile={tile}")
    def _(path, kind=kind, big=big, order=order, tile=tile):
        low = -90 if np.dtype(kind).kind in "if" else 0
        data = (RNG.integers(low, 100, (H, W)) * (0.5 if kind.startswith("f") else 1)).astype(kind)
        if kind == "bool":
            data, tile = GREY > 100, False
        tifffile.imwrite(path, data, bigtiff=big, byteorder=order, tile=(16, 16) if tile else None)
        return Means(data)


LOSSLESS = ("zlib", "lzw", "packbits", "zstd", "lzma", "deflate", "webp", "jpeg2000", "png", "lerc", "jpegxl", "jpegxr")
for compression, predictor in itertools.product(LOSSLESS, (False, True)):
    if predictor and compression in ("webp", "jpeg2000", "png", "lerc", "jpegxl", "jpegxr", "packbits"):
        continue

    @case(f"compression/{compression} predictor={predictor}")
    def _(path, compression=compression, predictor=predictor):
        data, args = (RGB, {"lossless": True}) if compression == "webp" else (GREY, {})
        if compression == "jpeg2000":
            args = {"reversible": True, "level": 0}
        tifffile.imwrite(path, data, compression=compression, predictor=predictor, compressionargs=args)
        return Means(data, "YXS" if data.ndim == 3 else "YX")


for tile, colour in itertools.product((False, True), (False, True)):

    @case(f"compression/jpeg tile={tile} colour={colour}")
    def _(path, tile=tile, colour=colour):
        data = np.dstack([SMOOTH] * 3) if colour else SMOOTH
        options = {"tile": (32, 32)} if tile else {}
        tifffile.imwrite(
            path,
            data,
            compression="jpeg",
            compressionargs={"level": 98},
            photometric="rgb" if colour else None,
            **options,
        )
        return Means(data, "YXS" if colour else "YX", off=6)


@case("type/12 bits packed")
def _(path):
    data = RNG.integers(0, 4096, (H, W), dtype=np.uint16)
    padded = np.pad(data, [(0, 0), (0, W % 2)]).reshape(-1, 2).astype(np.uint32)
    pairs = np.stack([padded[:, 0] >> 4, (padded[:, 0] & 15) << 4 | padded[:, 1] >> 8, padded[:, 1] & 255], axis=-1)
    rows = pairs.astype(np.uint8).reshape(H, -1)[:, : -(-12 * W // 8)].tobytes()  # rows end with a whole byte
    tags = [(256, 3, W), (257, 3, H), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, H),
            (279, 4, len(rows))]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags) + b"\0" * 4
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(rows)) + rows + ifd)
    return Means(data)


# Axes: plain pages, ImageJ, OME, tifffile's own description.

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": H, "X": W}
ORDERS = ("ZYX", "TYX", "CYX", "TZYX", "TCYX", "ZCYX", "TZCYX")
for kind, order in itertools.product(("imagej", "ome", "shaped"), ORDERS):

    @case(f"axes/{kind} {order}")
    def _(path, kind=kind, order=order):
        data = RNG.integers(0, 60000, [SIZES[a] for a in order], dtype=np.uint16)
        options = {} if kind == "shaped" else {kind: True}
        tifffile.imwrite(path, data, metadata={"axes": order}, photometric="minisblack", **options)
        return Means(data, order)


for order in ("TZYX", "TZCYX"):

    @case(f"axes/nameless {order}")
    def _(path, order=order):
        data = RNG.integers(0, 60000, [SIZES[a] for a in order], dtype=np.uint16)
        tifffile.imwrite(path, data, photometric="minisblack")
        return Means(data, order, told=f"are read as {order} (metastructure --axes")


for order in ("TCZYX", "CZTYX", "ZTYX", "CTYX"):

    @case(f"axes/ome order {order}")
    def _(path, order=order):
        data = RNG.integers(0, 60000, [SIZES[a] for a in order], dtype=np.uint16)
        tifffile.imwrite(path, data, metadata={"axes": order}, ome=True, photometric="minisblack")
        return Means(data, order)


@case("axes/length one")
def _(path):
    data = RNG.integers(0, 255, (1, 5, 1, H, W), dtype=np.uint8)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX"})
    return Means(data[0, :, 0], "ZYX")


for count in (2, 3, 4, 5):

    @case(f"axes/plain pages {count}")
    def _(path, count=count):
        data = RNG.integers(0, 255, (count, H, W), dtype=np.uint8)
        with tifffile.TiffWriter(path) as tif:
            for page in data:
                tif.write(page, metadata=None, contiguous=False, photometric="minisblack")
        return Means(data, "ZYX")


@case("axes/imagej without tags of later pages, as beyond 4 GB")
def _(path):
    data = RNG.integers(0, 255, (5, H, W), dtype=np.uint8)
    text = "ImageJ=1.54f\nimages=5\nslices=5\nloop=false\n"
    offset, size = tifffile.imwrite(path, data[0], metadata=None, description=text, returnoffset=True)
    content = path.read_bytes()
    assert len(content) == offset + size  # pixels come last, so that more can follow
    path.write_bytes(content + data[1:].tobytes())
    return Means(data, "ZYX")


for levels, kind in itertools.product((1, 2), ("plain", "ome")):

    @case(f"pyramid/{kind} {levels}")
    def _(path, levels=levels, kind=kind):
        data = np.kron(GREY, np.ones((8, 8), np.uint8))
        with tifffile.TiffWriter(path, ome=kind == "ome") as tif:
            tif.write(data, subifds=levels, tile=(32, 32), metadata={"axes": "YX"})
            for level in range(1, levels + 1):
                tif.write(data[:: 2**level, :: 2**level], subfiletype=1, tile=(32, 32), metadata=None)
        return Means(data)


# Samples and colours.

for samples, planar in itertools.product((2, 3, 4, 5, 7), (False, True)):

    @case(f"samples/{samples} grey planar={planar}")
    def _(path, samples=samples, planar=planar):
        data = RNG.integers(0, 255, (samples, H, W), dtype=np.uint8)
        stored = data if planar else np.moveaxis(data, 0, -1)
        config = "separate" if planar else "contig"
        tifffile.imwrite(path, np.ascontiguousarray(stored), photometric="minisblack", planarconfig=config)
        return Means(data, "CYX")


for kind, planar in itertools.product(("uint8", "uint16", "float32"), (False, True)):

    @case(f"samples/rgb {kind} planar={planar}")
    def _(path, kind=kind, planar=planar):
        data = RGB.astype(kind)
        stored = np.ascontiguousarray(np.moveaxis(data, -1, 0)) if planar else data
        tifffile.imwrite(
            path, stored, photometric="rgb", planarconfig="separate" if planar else "contig", metadata=None
        )
        return Means(data, "YXS", told="--axes ZYX" if planar else None)


@case("samples/rgba")
def _(path):
    data = np.dstack([RGB, GREY])
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=["unassalpha"])
    return Means(data, "YXS")


@case("samples/rgb and one unknown")
def _(path):
    data = np.dstack([RGB, GREY])
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=["unspecified"])
    return Means(data, "YXS", told="fourth sample")


@case("samples/rgb and three more")
def _(path):
    tifffile.imwrite(path, np.dstack([RGB, RGB]), photometric="rgb", extrasamples=["unspecified"] * 3)
    return Means(np.dstack([RGB, RGB[..., :1]]), "YXS", told="--axes YXC")


@case("samples/grey and alpha")
def _(path):
    stored = np.dstack([GREY, 255 - GREY])
    tifffile.imwrite(path, stored, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    return Means(GREY)


@case("samples/ome rgb stack")
def _(path):
    data = RNG.integers(0, 255, (3, H, W, 3), dtype=np.uint8)
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZYXS"}, photometric="rgb")
    return Means(data, "ZYXS")


@case("samples/three planes with axes of their own")
def _(path):
    data = RNG.integers(0, 255, (3, H, W), dtype=np.uint8)
    tifffile.imwrite(path, data, metadata={"axes": "ZYX"})
    return Means(data, "ZYX")


# Photometric interpretation.

for kind in ("uint8", "uint16", "int16", "float32"):

    @case(f"photometric/min is white {kind}")
    def _(path, kind=kind):
        data = GREY.astype(kind) * np.array(1 if kind == "uint8" else 3, kind)
        tifffile.imwrite(path, data, photometric="miniswhite")
        top = {"uint8": 255, "uint16": 65535, "int16": -1, "float32": 0}[kind]
        return Means((np.array(top, kind) - data).astype(kind))


@case("photometric/min is white, CCITT by Pillow")
def _(path):
    if not hasattr(imagecodecs, "ccittfax4_decode"):
        pytest.skip("imagecodecs of this version does not read CCITT")
    PIL.Image.fromarray(GREY > 100).save(path, compression="group4", tiffinfo={262: 0})
    return Means(np.asarray(PIL.Image.open(path)))


@case("photometric/min is white, bilevel and inverted")
def _(path):
    text = "made by a scanner"
    tifffile.imwrite(path, GREY > 100, photometric="miniswhite", metadata=None, description=text, software="Scan 1.0")
    return Means(GREY <= 100)


@case("photometric/inverting table of ImageJ")
def _(path):
    tifffile.imwrite(path, GREY, imagej=True, photometric="miniswhite")
    return Means(GREY, told="as Fiji measures")


for depth in (8, 4):

    @case(f"photometric/palette {depth} bits")
    def _(path, depth=depth):
        picture = PIL.Image.fromarray(RGB).quantize(2**depth)
        table = np.zeros((3, 256), np.uint16)
        colours = np.array(picture.getpalette(), np.uint16).reshape(-1, 3).T
        table[:, : colours.shape[1]] = colours * 257
        tifffile.imwrite(path, np.asarray(picture), photometric="palette", colormap=table)
        return Means(np.asarray(picture.convert("RGB")), "YXS")


@case("photometric/palette by Pillow")
def _(path):
    picture = PIL.Image.fromarray(RGB).quantize(16)
    picture.save(path)
    return Means(np.asarray(picture.convert("RGB")), "YXS")


@case("photometric/palette of greys")
def _(path):
    table = np.repeat((255 - np.arange(256, dtype=np.uint16))[None] * 257, 3, axis=0)
    tifffile.imwrite(path, GREY, photometric="palette", colormap=table)
    return Means(255 - GREY)


for name, weights in {"green": (0, 1, 0), "hot": (1, 0.5, 0.2)}.items():

    @case(f"photometric/look-up table {name}")
    def _(path, weights=weights):
        table = np.outer(weights, np.arange(256) * 257).astype(np.uint16)
        tifffile.imwrite(path, GREY, photometric="palette", colormap=table)
        return Means(GREY)


@case("photometric/look-up table of ImageJ")
def _(path):
    table = RNG.integers(0, 65535, (3, 256), dtype=np.uint16)
    tifffile.imwrite(path, GREY, imagej=True, photometric="palette", colormap=table)
    return Means(GREY)


@case("photometric/cmyk")
def _(path):
    data = RNG.integers(0, 255, (H, W, 4), dtype=np.uint8)
    tifffile.imwrite(path, data, photometric="separated")
    return Means(np.asarray(PIL.Image.fromarray(data, "CMYK").convert("RGB")), "YXS", off=1)


@case("photometric/cmyk by Pillow, in strips, compressed")
def _(path):
    picture = PIL.Image.fromarray(RGB).convert("CMYK")
    picture.save(path, compression="tiff_lzw")
    return Means(RGB, "YXS", off=1)


@case("photometric/cmyk planar 16 bits")
def _(path):
    data = RNG.integers(0, 65535, (4, H, W), dtype=np.uint16)
    tifffile.imwrite(path, data, photometric="separated", planarconfig="separate")
    ink = np.moveaxis(data, 0, -1) / 65535
    return Means(np.rint((1 - ink[..., :3]) * (1 - ink[..., 3:]) * 65535).astype(np.uint16), "YXS", off=1)


@case("photometric/ycbcr without compression")
def _(path):
    picture = PIL.Image.fromarray(np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH])).convert("YCbCr")
    tifffile.imwrite(path, np.asarray(picture), photometric="ycbcr", extratags=[(530, "H", 2, (1, 1), True)])
    return Means(np.asarray(picture.convert("RGB")), "YXS", off=2)


@case("photometric/cielab")
def _(path):
    lab = np.zeros((H, W, 3), np.uint8)
    lab[..., 0] = SMOOTH
    tifffile.imwrite(path, lab, photometric="cielab")
    y = np.asarray(SMOOTH / 255 * 100)
    light = np.where(y > 8, ((y + 16) / 116) ** 3, y / 903.3)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return Means(np.rint(np.dstack([srgb * 255] * 3)).astype(np.uint8), "YXS", off=1)


@case("photometric/icclab and signed bytes agree")
def _(path):
    lab = np.dstack([SMOOTH, 128 + SMOOTH // 8, 128 - SMOOTH // 9]).astype(np.uint8)
    signed = lab.copy()
    signed[..., 1:] ^= 128
    tifffile.imwrite(path, signed, photometric="cielab")
    signed_rgb = read_image(path).data
    tifffile.imwrite(path, lab, photometric="icclab")
    return Means(signed_rgb, "YXS")


@case("photometric/orientation")
def _(path):
    tifffile.imwrite(path, GREY, extratags=[(274, "H", 1, 6, True)])
    return Means(GREY, told="turned or mirrored")


# Scale: what other programs write, and in which units.

UNITS = {
    "µm": UM, "um": UM, "micron": UM, "nm": "nanometer", "pm": "picometer", "mm": "millimeter", "cm": "centimeter",
    "m": "meter", "km": "kilometer", "inch": "inch", "Å": "angstrom", "pc": "parsec",
}  # fmt: skip
for unit, name in UNITS.items():

    @case(f"scale/ome {unit}")
    def _(path, unit=unit, name=name):
        unit = {"um": "µm", "micron": "µm", "inch": "in"}.get(unit, unit)
        sizes = {f"PhysicalSize{a}": s for a, s in (("X", 500.0), ("Y", 250.0))}
        units = {f"PhysicalSize{a}Unit": unit for a in "XY"}
        tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "YX", **sizes, **units})
        return Means(GREY, steps={"X": (500, name), "Y": (250, name)})

    @case(f"scale/imagej {unit}")
    def _(path, unit=unit, name=name):
        text = f"ImageJ=1.54f\nunit={unit}\n".encode("latin-1")
        tifffile.imwrite(path, GREY, metadata=None, description=text, resolution=(4, 2), resolutionunit=1)
        return Means(GREY, steps={"X": (0.25, name), "Y": (0.5, name)})


TIMES = {
    None: "second",
    "sec": "second",
    "min": "minute",
    "ms": "millisecond",
    "h": "hour",
    "hours": "hour",
    "d": "day",
}
for unit, name in TIMES.items():

    @case(f"scale/imagej tunit {unit}")
    def _(path, unit=unit, name=name):
        data, more = np.stack([GREY] * 3), {} if unit is None else {"tunit": unit}
        tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TYX", "finterval": 5.0, "fps": 7.0, **more})
        return Means(data, "TYX", steps={"T": (5, name)})


@case("scale/imagej fps is how fast it is played")
def _(path):
    data = np.stack([GREY] * 3)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TYX", "fps": 7.0})
    return Means(data, "TYX", steps={"T": (1, "pixel")})


for unit, name in {"s": "second", "min": "minute", "ms": "millisecond", "d": "day"}.items():

    @case(f"scale/ome time {unit}")
    def _(path, unit=unit, name=name):
        data = np.stack([GREY] * 3)
        metadata = {"axes": "TYX", "TimeIncrement": 2.5, "TimeIncrementUnit": unit}
        tifffile.imwrite(path, data, ome=True, metadata=metadata, photometric="minisblack")
        return Means(data, "TYX", steps={"T": (2.5, name)})


for axis in "XY":

    @case(f"scale/ome only {axis}")
    def _(path, axis=axis):
        tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "YX", f"PhysicalSize{axis}": 0.1})
        return Means(GREY, steps={"X": (0.1, UM), "Y": (0.1, UM)})


@case("scale/imagej only X")
def _(path):
    text = "ImageJ=1.54f\nunit=um\n"
    tifffile.imwrite(path, GREY, metadata=None, description=text, resolution=(10, 20))
    y, other = (struct.pack("<HHI", tag, 5, 1) for tag in (283, 65283))
    path.write_bytes(path.read_bytes().replace(y, other))
    return Means(GREY, steps={"X": (0.1, UM), "Y": (0.1, UM)})


@case("scale/unit nobody knows")
def _(path):
    tifffile.imwrite(path, GREY, imagej=True, resolution=(10, 10), metadata={"unit": "furlong"})
    return Means(GREY, told="furlong")


@case("scale/tiny metres")
def _(path):
    sizes = {f"PhysicalSize{a}": 1e-10 for a in "XY"} | {f"PhysicalSize{a}Unit": "m" for a in "XY"}
    tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "YX", **sizes})
    return Means(GREY, steps={"X": (1e-10, "meter"), "Y": (1e-10, "meter")})


@case("scale/pixels per centimetre")
def _(path):
    tifffile.imwrite(path, GREY, resolution=(10000, 20000), resolutionunit="centimeter")
    return Means(GREY, steps={"X": (1e-4, "centimeter"), "Y": (5e-5, "centimeter")})


for unit, dots in (("inch", 72), ("inch", 300), ("centimeter", 300 / 2.54), ("centimeter", 28.35)):

    @case(f"scale/for print {unit} {dots:.0f}")
    def _(path, unit=unit, dots=dots):
        tifffile.imwrite(path, GREY, resolution=(dots, dots), resolutionunit=unit)
        return Means(GREY)


@case("scale/FEI")
def _(path):
    text = b"[User]\r\nDate=1/1/2020\r\n\r\n[Scan]\r\nPixelWidth=2.5e-09\r\nPixelHeight=5e-09\r\n\0"
    tifffile.imwrite(path, GREY, metadata=None, extratags=[(34682, "s", len(text), text, True)])
    return Means(GREY, steps={"X": (2.5e-9, "meter"), "Y": (5e-9, "meter")})


for key, size, unit, name in (
    ("AP_IMAGE_PIXEL_SIZE", 3.5, "nm", "nanometer"),
    ("AP_PIXEL_SIZE", 70, "pm", "picometer"),
):

    @case(f"scale/Zeiss SEM {key}")
    def _(path, key=key, size=size, unit=unit, name=name):
        text = f"0\r\n0\r\n{key}\r\nImage Pixel Size = {size} {unit}\r\nDP_ZOOM\r\nZoom Factor = Off\r\n\0".encode()
        tifffile.imwrite(path, GREY, metadata=None, extratags=[(34118, "s", len(text), text, True)])
        return Means(GREY, steps={"X": (size, name), "Y": (size, name)})


@case("scale/LSM")
def _(path):
    head = struct.pack("<I9i3d", 0x0400494C, 400, W, H, 1, 1, 1, 1, 32, 32, 2e-7, 3e-7, 1e-6)
    info = head.ljust(400, b"\0")
    with tifffile.TiffWriter(path) as tif:
        tif.write(GREY, metadata=None, extratags=[(34412, "B", len(info), info, True)])
        tif.write(GREY[::2, ::2], metadata=None, subfiletype=1)
    return Means(GREY, steps={"X": (2e-7, "meter"), "Y": (3e-7, "meter")})


# Pictures.

for name, mode in {"L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGBA", "1": "1", "P": "RGB", "I;16": "I;16"}.items():

    @case(f"picture/png {name}")
    def _(path, name=name, mode=mode):
        if name == "I;16":
            data = GREY.astype(np.uint16) * 257
            PIL.Image.fromarray(data).save(path)
            return Means(data)
        source = PIL.Image.fromarray(RGB if "RGB" in name or name == "P" else GREY)
        picture = source.quantize(32) if name == "P" else source.convert(name)
        picture.save(path)
        data = np.asarray(picture.convert(mode))
        return Means(data, "YXS" if data.ndim == 3 else "YX")


for samples in (1, 2, 3, 4):

    @case(f"picture/16-bit png of {samples}")
    def _(path, samples=samples):
        data = RNG.integers(0, 65535, (H, W, samples), dtype=np.uint16)
        path.write_bytes(imagecodecs.png_encode(data.squeeze()))
        return Means(data[..., 0] if samples < 3 else data, "YX" if samples < 3 else "YXS")

    @case(f"picture/16-bit jpeg 2000 of {samples}")
    def _(path, samples=samples):
        data = RNG.integers(0, 65535, (H, W, samples), dtype=np.uint16)
        path.write_bytes(imagecodecs.jpeg2k_encode(data.squeeze(), level=0, reversible=True))
        grey = samples < 3
        return Means(data[..., 0] if grey else data, "YX" if grey else "YXS", told="holds a JPEG2000")


for ending, data in {
    "jp2": RGB,
    "bmp": RGB,
    "pgm": GREY,
    "ppm": RGB,
    "webp": RGB,
    "gif": GREY,
    "pbm": GREY > 99,
}.items():

    @case(f"picture/{ending}")
    def _(path, ending=ending, data=data):
        PIL.Image.fromarray(data).save(path.with_suffix(f".{ending}"), lossless=True)
        path.with_suffix(f".{ending}").rename(path)
        return Means(data, "YXS" if data.ndim == 3 else "YX", told="whatever its name says")


@case("picture/16-bit ppm")
def _(path):
    data = RNG.integers(0, 65535, (H, W, 3), dtype=np.uint16)
    path.write_bytes(f"P6\n# made by a scanner\n{W} {H}\n65535\n".encode() + data.astype(">u2").tobytes())
    return Means(data, "YXS", told="holds a PPM")


@case("picture/grey palette")
def _(path):
    picture = PIL.Image.fromarray(GREY).convert("P")
    picture.save(path)
    return Means(GREY)


@case("picture/cmyk jpeg")
def _(path):
    picture = PIL.Image.fromarray(np.dstack([SMOOTH] * 3)).convert("CMYK")
    picture.save(path, format="JPEG", quality=98)
    return Means(np.dstack([SMOOTH] * 3), "YXS", told="holds a JPEG", off=8)


@case("picture/exif orientation")
def _(path):
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(GREY).save(path, exif=exif)
    return Means(GREY, told="turned or mirrored")


@case("picture/animated png")
def _(path):
    frames = [PIL.Image.fromarray(GREY), PIL.Image.fromarray(255 - GREY)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return Means(np.stack([GREY, 255 - GREY]), "TYX")


@case("picture/preview in a camera's jpeg")
def _(path):
    frames = [PIL.Image.fromarray(SMOOTH), PIL.Image.fromarray(SMOOTH[::2, ::2])]
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:], quality=98)
    return Means(SMOOTH, told="only the first", off=8)
