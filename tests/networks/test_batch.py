"""Many files, one after the other: axes and scale kept, bad ones named, whole results only."""

import numpy as np
import pytest
import tifffile
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, noting
from napari_metastructure.images.writing import write_tiff
from napari_metastructure.networks.batch import (
    FileRefused,
    FileWritten,
    PlaneAxes,
    PredictionFinished,
    PredictionProgress,
    PredictionStarted,
    Target,
    predict_files,
    targets_of,
)
from napari_metastructure.networks.model import Model

CPU = torch.device("cpu")


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.uint16)


def write(path, data, axes):
    scale = {"T": 3.0, "Z": 2.0, "Y": 0.5, "X": 0.5}
    unit = {"T": "second", "C": "pixel"}
    write_tiff(path, data, axes, [scale.get(a, 1.0) for a in axes], [unit.get(a, "micrometer") for a in axes])
    return path


def predict(model, out, *paths, **options):
    targets = [Target(out, path.stem, **{k: v for k, v in options.items() if k != "channel"}) for path in paths]
    return list(predict_files(model, paths, targets, CPU, channel=options.get("channel")))


@pytest.mark.parametrize(("axes", "shape"), [("YX", (40, 50)), ("ZYX", (2, 40, 50)), ("TZYX", (2, 3, 40, 36))])
@pytest.mark.parametrize("classes", [(0, 3), (0, 2, 7)])
def test_each_plane_is_predicted_by_itself_and_the_scale_kept(saved, tmp_path, axes, shape, classes):
    model = Model.load(saved(classes=classes))
    data = pixels(*shape)
    events = predict(model, tmp_path / "deep" / "out", write(tmp_path / "a.tif", data, axes))
    mask, probability = tmp_path / "deep" / "out" / "a_mask.tif", tmp_path / "deep" / "out" / "a_probability.tif"
    expected = [model.predict(plane, "cpu") for plane in data.reshape(-1, *shape[-2:])]
    labels = np.stack([p.labels for p in expected]).reshape(shape)
    np.testing.assert_array_equal(
        tifffile.imread(mask), 255 * (labels == 3).astype(np.uint8) if len(classes) == 2 else labels
    )
    np.testing.assert_array_equal(
        tifffile.imread(probability), np.stack([p.probability for p in expected]).reshape(shape)
    )
    for file in (mask, probability):
        with tifffile.TiffFile(file) as tif:
            assert tif.series[0].axes == axes
            assert tif.pages.first.tags.valueof("XResolution") == (2, 1)
            assert tif.imagej_metadata["unit"] == "micron"
            assert tif.imagej_metadata.get("spacing") == (2.0 if "Z" in axes else None)
    assert isinstance(events[0], PredictionStarted)
    assert events[0].images == 1
    assert events[-2] == FileWritten(0, tmp_path / "a.tif", (mask, probability), ())
    assert isinstance(events[-1], PredictionFinished)
    done = [e.done for e in events if isinstance(e, PredictionProgress)]
    assert done == sorted(done)
    assert done[-1] == 1


def test_several_channels_a_chosen_one_and_colours(saved, tmp_path):
    data = pixels(3, 40, 50)
    three, one = Model.load(saved("three", channels=3)), Model.load(saved("one"))
    path = write(tmp_path / "c.tif", data, "CYX")
    (written,) = [e for e in predict(three, tmp_path / "out", path) if isinstance(e, FileWritten)]
    np.testing.assert_array_equal(tifffile.imread(written.written[1]), three.predict(data, "cpu").probability)
    predict(one, tmp_path / "out", path, channel=1)
    np.testing.assert_array_equal(tifffile.imread(written.written[1]), one.predict(data[1], "cpu").probability)
    colours = (data.transpose(1, 2, 0) % 256).astype(np.uint8)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, colours, photometric="rgb")
    predict(one, tmp_path / "out", path, ome=True, probability=False)
    grey = colours @ np.array([0.2125, 0.7154, 0.0721], np.float32)
    expected = one.predict(grey, "cpu").labels * 255
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "rgb_mask.ome.tif"), expected)
    assert not (tmp_path / "out" / "rgb_probability.ome.tif").exists()
    predict(three, tmp_path / "out", path)
    expected = three.predict(colours.transpose(2, 0, 1), "cpu").labels * 255
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "rgb_mask.tif"), expected)


def test_a_bad_file_is_named_and_the_others_go_on(saved, tmp_path):
    model = Model.load(saved())
    good = write(tmp_path / "good.tif", pixels(40, 50), "YX")
    two = write(tmp_path / "two.tif", pixels(2, 40, 50), "CYX")
    torn = tmp_path / "torn.tif"
    torn.write_bytes(good.read_bytes()[:300])
    frames = pixels(3, 40, 50)
    frames[1] = 7
    film = write(tmp_path / "film.tif", frames, "TYX")
    events = predict(model, tmp_path / "out", torn, two, good, film)
    refused = [e for e in events if isinstance(e, FileRefused)]
    assert [e.path for e in refused] == [torn, two]
    assert "cut short" in refused[0].why
    assert f"{two} has 2 channels" in refused[1].why
    written = [e for e in events if isinstance(e, FileWritten)]
    assert [e.path for e in written] == [good, film]
    assert written[1].notes == (
        f"{film} (T=1): all pixels have the same value or are NaN, so nothing was found there.",
    )
    assert not tifffile.imread(tmp_path / "out" / "film_mask.tif")[1].any()
    assert events[-1].images == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "film_mask.tif", "film_probability.tif", "good_mask.tif", "good_probability.tif",
    ]  # fmt: skip


def test_one_who_leaves_leaves_whole_files(saved, tmp_path):
    model = Model.load(saved())
    paths = [write(tmp_path / f"{n}.tif", pixels(40, 50, seed=i), "YX") for i, n in enumerate("ab")]
    events = predict_files(model, paths, [Target(tmp_path / "out", p.stem) for p in paths], CPU, lambda: None)
    while not isinstance(next(events), FileWritten):
        pass
    next(events)  # in the middle of b
    events.close()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_mask.tif", "a_probability.tif"]


def test_where_nothing_can_be_written(saved, tmp_path):
    path = write(tmp_path / "a.tif", pixels(40, 50), "YX")
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="in the way"):
        predict(Model.load(saved()), tmp_path / "out", path)


@pytest.mark.parametrize(
    ("shape", "labels", "channels", "axis", "leading", "result"),
    [
        ((40, 50), "yx", 1, None, (), (40, 50)),
        ((2, 3, 40, 50), "tzyx", 1, None, (2, 3), (2, 3, 40, 50)),
        ((3, 40, 50), ("channel", "y", "x"), 3, 0, (), (40, 50)),
        ((5, 3, 40, 50), ("", "", "", ""), 3, 1, (5,), (5, 1, 40, 50)),
        ((3, 5, 40, 50), "CZyx", 3, 0, (5,), (5, 40, 50)),
        ((2, 3, 5, 40, 50), "tczyx", 3, 1, (2, 5), (2, 1, 5, 40, 50)),
    ],
)
def test_the_axis_of_channels_is_the_one_that_is_called_so_or_the_last(shape, labels, channels, axis, leading, result):
    axes = PlaneAxes.find(shape, list(labels), channels, "Layer 'a'")
    assert (axes.axis, axes.leading, axes.result, axes.count) == (axis, leading, result, np.prod(leading, dtype=int))
    data = np.arange(np.prod(shape)).reshape(shape)
    planes = {at: data[index] for at, index in axes.places()}
    assert list(planes) == list(np.ndindex(leading))
    moved = data if axis is None else np.moveaxis(data, axis, -3)
    for at, plane in planes.items():
        np.testing.assert_array_equal(plane, moved[at])


@pytest.mark.parametrize(("shape", "labels"), [((40, 50), "yx"), ((2, 40, 50), "cyx"), ((3, 2, 40, 50), "zcyx")])
def test_an_array_without_as_many_channels_is_named(shape, labels):
    with pytest.raises(InputError, match=r"Layer 'a' \(.*40 x 50\) has no axis of 3 channels"):
        PlaneAxes.find(shape, list(labels), 3, "Layer 'a'")


def test_a_folder_gives_its_images_their_targets_and_what_is_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        write(tmp_path / "in" / name, pixels(40, 50), "YX")
    (tmp_path / "in" / "notes.txt").write_text("mine")
    with noting() as notes:
        paths = list_images([tmp_path / "in"])
    targets = targets_of(paths, tmp_path / "out", ome=True, probability=False)
    assert [p.name for p in paths] == ["a.tif", "b.tif"]
    assert [file.name for target in targets for file in target.files] == ["a_mask.ome.tif", "b_mask.ome.tif"]
    assert len(notes) == 1 and "notes.txt" in notes[0]
    (tmp_path / "out").mkdir()
    targets[0].mask.write_text("there")
    with pytest.raises(InputError, match=r"a_mask\.ome\.tif is there already"):
        targets_of(paths, tmp_path / "out", ome=True)
    targets_of(paths, tmp_path / "out", ome=True, overwrite=True)


def test_an_earlier_prediction_in_another_form_is_in_the_way_and_goes(saved, tmp_path):
    model, path, out = Model.load(saved()), write(tmp_path / "a.tif", pixels(40, 50), "YX"), tmp_path / "out"
    list(predict_files(model, [path], targets_of([path], out), CPU, lambda: None))
    (out / "a_mask.ome.zarr" / "0").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a_mask\.tif is there already"):
        targets_of([path], out, ome=True, probability=False)
    targets = targets_of([path], out, ome=True, probability=False, overwrite=True)
    list(predict_files(model, [path], targets, CPU, lambda: None))
    assert [found.name for found in out.iterdir()] == ["a_mask.ome.tif"]
    result = out / "a_mask.ome.tif"  # predicted itself, it is no result of the image a
    with pytest.raises(InputError, match="is an input"):
        targets_of([path, result], out, overwrite=True)
