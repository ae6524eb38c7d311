"""Planes, frames and colour chosen in widgets: results lie in place, files say which, a resumed run agrees."""

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.batch import PredictionFinished
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model
from napari_metastructure.plugin._layers import ORIGIN, PLANES
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin._source import ModelLayer, Source
from napari_metastructure.plugin.predict import PredictWidget
from napari_metastructure.plugin.writer import write_labels
from napari_metastructure.training.run_folder import FoundRun


@pytest.fixture
def stack(blobs):
    return np.stack([blobs(seed) for seed in range(4)])


def filled(pages):
    """Which planes of (..., Y, X) pixels hold something."""
    return pages.any(axis=(-2, -1)).tolist()


def test_a_run_on_some_planes_leaves_the_others_empty_and_says_so(open_widget, stack, run, tmp_path):
    viewer, widget = open_widget(stack)
    widget.ranges.lines["planes"].setText("2, 4")
    widget.results.labels.setChecked(True)
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert widget.failure is None
    masks = viewer.layers["a iGTT masks"]
    assert masks.data.shape == (3, *stack.shape)
    assert filled(masks.data[-1]) == [False, True, False, True]
    assert tuple(masks.scale[1:]) == tuple(viewer.layers["a"].scale)
    assert (viewer.layers["a pseudo-label"].data[0] == UNLABELLED).all()
    assert len(widget.layers.masks(2)) == 2
    (kept,) = widget.use_epoch()
    (path,) = widget.save_mask(tmp_path / "mask")
    (other,) = write_labels(str(tmp_path / "other.tif"), kept.data, {"metadata": kept.metadata, "scale": kept.scale})
    for file in (path, other):
        with tifffile.TiffFile(file) as tif:
            assert tif.asarray().shape == stack.shape
            assert "planes 2, 4 of 4" in tif.imagej_metadata["Info"]
    assert FoundRun(tmp_path / "run").chosen() == Chosen(planes="2, 4")


def test_a_resumed_run_takes_the_planes_it_was_made_of(open_widget, stack, run, tmp_path):
    _viewer, widget = open_widget(stack)
    widget.ranges.set(Chosen(planes="1-2"))
    widget.folder.set(tmp_path / "run")
    run(widget)
    _viewer, again = open_widget(stack)
    again.settings.fill(IGTTConfig())
    again.folder.set(tmp_path / "run")
    assert again.load_run_settings()
    assert again.ranges.get() == Chosen(planes="1-2")
    again.ranges.set(Chosen(planes="3"))
    again.settings.fill(again.settings.config(epochs=3))
    run(again, again.resume_run)
    assert again.failure is None
    assert filled(again.layers.parts[0].masks.data[-1]) == [True, True, False, False]


def test_paint_counts_on_the_planes_of_the_run_alone(open_widget, stack, run, said):
    viewer, widget = open_widget(stack)
    widget.ranges.set(Chosen(planes="3-4"))
    run(widget)
    widget.take_brush(1)
    strokes = viewer.layers["a strokes"]
    strokes.data_setitem((np.array([0]), np.array([1]), np.array([1])), 1)
    assert widget.layers.corrections() == {}
    assert not widget.continue_from_edits() and "on a plane that is segmented" in said()[-1]
    viewer.dims.set_point(1, 0)
    assert not widget.save_film("x.gif") and "planes 3-4 of 4 were" in said()[-1]
    strokes.data_setitem((np.array([3]), np.array([1]), np.array([1])), 1)
    assert list(widget.layers.corrections()) == [1]
    assert widget.layers.masks(2)[1][1, 1] == 1
    told, strokes.data[...] = widget.layers.corrections(), 0
    viewer.layers.remove(strokes)
    widget.layers.restore(told)
    assert np.flatnonzero(viewer.layers["a strokes"].data.any(axis=(1, 2))).tolist() == [3]
    viewer.dims.set_point(1, 3)
    assert widget.layers.plane == 1


@pytest.mark.parametrize("text", ["5", "0", "2-1", "two"])
def test_planes_that_are_not_there_are_refused_before_anything_starts(open_widget, stack, said, text):
    viewer, widget = open_widget(stack)
    widget.ranges.lines["planes"].setText(text)
    assert not widget.start()
    assert "planes" in said()[-1].lower()
    assert list(viewer.layers) == [viewer.layers["a"]] and not widget.running
    widget.ranges.lines["planes"].setText("1")
    assert widget.progress.status.text() == "Ready."


def test_lines_show_what_the_ticked_layers_have(qtbot):
    rows = RangeRows("segmented", colours=True)
    qtbot.addWidget(rows)
    rows.set(Chosen(planes="1", frames="2", channel="red"))
    rows.show_layers([Image(np.zeros((8, 8)))])
    assert rows.isHidden() and rows.get() == Chosen()
    rows.show_layers([Image(np.zeros((5, 8, 8))), Image(np.zeros((7, 8, 8)))])
    assert rows.counts["planes"].text() == "of 5 to 7"
    assert rows.get() == Chosen(planes="1")
    rows.show_layers([Image(np.zeros((3, 5, 8, 8)), axis_labels=("t", "c", "y", "x"))])
    assert [label.text() for label, _ in rows._rows.values()] == ["Channels", "Frames", "Colour"]
    assert rows.get() == Chosen(planes="1", frames="2")
    rows.show_layers([Image(np.zeros((8, 8, 3)), rgb=True)])
    assert rows.get() == Chosen(channel="red")
    rows.show_layers(None)
    assert rows.get() == Chosen(planes="1", frames="2")


def test_a_named_colour_is_segmented(open_widget, blobs, run, said, tmp_path):
    viewer, widget = open_widget()
    grey = (blobs() / 2).astype(np.uint8)
    picture = np.stack([np.zeros_like(grey), grey, np.random.default_rng(0).permutation(grey)], axis=-1)
    viewer.add_image(picture, rgb=True, name="rgb")
    widget.ranges.colour.set("blue")
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert not any("RGB" in sentence for sentence in said())
    assert FoundRun(tmp_path / "run").chosen() == Chosen(channel="blue")


def test_predicting_some_planes_of_layers_and_files(qtbot, tmp_path, stack, said):
    from napari.components import ViewerModel

    spec = NetworkSpec(in_channels=1, classes=1, base_channels=4)
    (tmp_path / "in").mkdir()
    save_model(tmp_path / "model.safetensors", build(spec, 0), spec, Use(inputs="zscore", patch=(32, 32)))
    tifffile.imwrite(tmp_path / "in" / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    viewer = ViewerModel()
    viewer.add_image(stack, name="s")
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.set(device="cpu")
    widget.choose_model(tmp_path / "model.safetensors")
    widget.ranges.lines["planes"].setText("9")
    assert not widget.start() and "has 4 planes" in said()[-1]
    widget.ranges.lines["planes"].setText("1, 4-")
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
    assert isinstance(widget.result, PredictionFinished)
    assert filled(viewer.layers["s probability"].data) == [True, False, False, True]
    widget.choose_folders(tmp_path / "in", tmp_path / "out")
    with qtbot.waitSignal(widget.batch.finished):
        assert widget.start()
    assert filled(tifffile.imread(tmp_path / "out" / "s_probability.tif")) == [True, False, False, True]


def test_planes_of_a_layer_whose_channels_the_model_takes():
    layer = Image(np.zeros((4, 3, 16, 16)), name="zc")
    assert [at for at, _ in ModelLayer.of(Source.of(layer, Chosen(frames="2-3")), 3).places] == [(1,), (2,)]
    with pytest.raises(InputError, match="all 3 channels"):
        ModelLayer.of(Source.of(layer, Chosen(planes="1")), 3)
    (only,) = ModelLayer.of(Source.of(Image(np.zeros((3, 16, 16))), Chosen(planes="1-3")), 3).places
    assert only[0] == ()


def test_a_source_names_joins_and_numbers_its_planes():
    source = Source.of(Image(np.zeros((2, 3, 8, 8)), name="film"), Chosen(planes="3", frames="1-2"))
    assert source.names() == ["film [0, 2]", "film [1, 2]"]
    joined = source.join([np.ones((8, 8)), np.ones((8, 8))])
    assert filled(joined) == [[False, False, True]] * 2
    assert len(source.part(joined)) == 2
    assert [source.number(plane) for plane in range(6)] == [None, None, 0, None, None, 1]


def test_training_takes_the_planes_chosen_and_draws_them_in_place(open_train, labelled, run, tmp_path, said):
    arrays = [np.stack(pair) for pair in zip(*(labelled(i) for i in range(4)), strict=True)]
    viewer, widget = open_train(arrays, [a[::-1] for a in arrays])
    for row in widget.data.table.rows:
        row.use = "validation" if row.image.name == "a" else "train"
    widget.data.ranges.lines["planes"].setText("2, 9")
    assert "has 4 planes" in widget.data.summary.text() and not widget.start()
    widget.data.ranges.lines["planes"].setText("2, 4")
    assert widget.data.summary.text().startswith("2 images to train on, 2")
    widget.folder.set(tmp_path / "run")
    run(widget)
    assert widget.failure is None
    drawn = viewer.layers["a prediction"]
    assert filled(drawn.data[-1]) == [False, True, False, True]
    assert drawn.metadata[ORIGIN][PLANES].startswith("Only planes 2, 4 of 4")
    for plane in (1, 3):
        np.testing.assert_array_equal(
            drawn.data[widget.result.best_epoch, plane], widget.model.predict(arrays[0][plane]).labels
        )
    assert FoundRun(tmp_path / "run").chosen() == Chosen(planes="2, 4")
    widget.data.ranges.set(Chosen())
    widget.settings.fill(widget.settings.config(epochs=widget.epochs[-1] + 1))
    run(widget, widget.resume_run)
    assert widget.failure is None and len(widget.epochs) == 1
    assert widget.data.ranges.get() == Chosen(planes="2, 4")


def test_only_layers_to_train_on_offer_planes(open_train, labelled, tmp_path):
    arrays = [np.stack(pair) for pair in zip(*(labelled(i) for i in range(2)), strict=True)]
    _viewer, widget = open_train(arrays)
    assert not widget.data.ranges.isHidden()
    widget.data.ranges.lines["planes"].setText("2")
    widget.data.use_folder(tmp_path)
    assert widget.data.ranges.isHidden() and widget.data.ranges.get() == Chosen()
