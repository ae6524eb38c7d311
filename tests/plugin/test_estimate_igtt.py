"""Before a run: how long it takes, and a try on what is on screen."""

import numpy as np
import pytest
from napari.layers import Image

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin import _estimate
from napari_metastructure.plugin._estimate import igtt_estimate, probe_igtt
from napari_metastructure.plugin._source import Source, part_on_screen
from napari_metastructure.training.control import Control


@pytest.fixture
def small(tiny):
    return IGTTConfig(**tiny)


def test_what_was_probed_is_remembered_also_by_the_next_start(small, monkeypatch):
    calls = []
    real = probe_igtt
    monkeypatch.setattr(_estimate, "probe_igtt", lambda *args: (calls.append(args), real(*args))[1])
    first = igtt_estimate(small, [(1, 64, 64)], Control())
    assert first.start > 0 and first.epochs > 0 and "1 plane of 64 x 64" in str(first)
    _estimate._paces.clear()
    more = igtt_estimate(small.model_copy(update={"epochs": 4}), [(3, 64, 64), (1, 64, 64)], Control())
    assert len(calls) == 1
    assert "4 planes" in str(more) and more.epochs > 2 * first.epochs
    assert igtt_estimate(small.model_copy(update={"batch_size": 2}), [(1, 64, 64)], Control()) is not None
    assert len(calls) == 2


def test_a_run_that_ends_with_its_start_counts_no_epochs(monkeypatch):
    monkeypatch.setattr(_estimate, "probe_igtt", lambda *_: (1e-5, 2.0, 1e-6))
    ends = igtt_estimate(IGTTConfig(device="cpu"), [(1, 100, 100)], Control())
    assert (ends.start, ends.epochs) == (pytest.approx(0.1), 0)
    assert "answers what you paint" in ends.note
    trains = igtt_estimate(IGTTConfig(device="cpu", rounds="always", epochs=2), [(1, 100, 100)], Control())
    assert trains.epochs == pytest.approx(2 * (8 * 2.0 + 1e-6 * 10_000))  # few steps for a small image


def test_the_default_preset_can_be_probed():
    start, step, relabel = probe_igtt(IGTTConfig(device="cpu"), (64, 64), Control())
    assert min(start, step, relabel) > 0


def test_the_widget_says_it_before_run(open_widget, blobs, qtbot):
    _viewer, widget = open_widget(np.stack([blobs(0), blobs(1)]), show=True)
    qtbot.waitUntil(lambda: "2 planes of 64 x 64" in widget.progress.eta.text())
    before = widget.estimate
    widget.settings.main.editors["epochs"].set(8)
    qtbot.waitUntil(lambda: widget.estimate not in (None, before))
    assert widget.estimate.epochs == pytest.approx(4 * before.epochs)


def test_a_try_is_a_run_on_what_is_on_screen(open_widget, blobs, run, tiny):
    viewer, widget = open_widget(blobs(), config={"epochs": 9})
    layer = viewer.layers["a"]
    layer.corner_pixels = np.array([[8, 16], [47, 55]])
    run(widget, widget.try_on_screen)
    assert widget.failure is None
    part, masks = viewer.layers["a (part)"], viewer.layers["a (part) iGTT masks"]
    np.testing.assert_array_equal(part.data, layer.data[8:48, 16:56])
    np.testing.assert_allclose(part.data_to_world((0, 0)), layer.data_to_world((8, 16)))
    assert masks.data.shape == (4, 40, 40)
    assert part not in widget.picker.chosen()
    widget.settings.fill(IGTTConfig(**tiny))
    run(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a iGTT masks"]


@pytest.mark.parametrize("rgb", [False, True])
def test_the_part_lies_where_it_is_in_a_layer_that_is_turned_and_sheared(rgb, make_napari_viewer):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    pixels = np.random.default_rng(0).random((3, 40, 60, 3) if rgb else (3, 40, 60))
    turned = np.eye(3)
    turned[1:, 1:] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    where = {"scale": (2, 0.5, 0.25), "translate": (1, 2, 3), "rotate": turned, "shear": (0, 0, 0.2)}
    layer = viewer.add_image(pixels, rgb=rgb, **where)
    viewer.dims.set_point(0, 3)
    layer.corner_pixels = np.array([[0, 5, 7], [0, 24, 50]])
    part, look, where = part_on_screen(viewer, Source.of(layer))
    np.testing.assert_array_equal(part(), pixels[1, 5:25, 7:51])
    made = Image(part(), **look, **where())
    np.testing.assert_allclose(made.data_to_world((3, 4)), np.asarray(layer.data_to_world((1, 8, 11)))[1:], atol=1e-6)


def test_a_part_of_a_lazy_layer_is_read_beside_the_window(open_widget, blobs, tiny, qtbot, said, monkeypatch):
    import threading

    import dask.array as da

    from napari_metastructure.plugin import _source

    lazy, threads = da.from_array(blobs(), chunks=(32, 64)), []
    viewer, widget = open_widget(blobs())
    layer = viewer.add_image(lazy.map_blocks(lambda b: (threads.append(threading.get_ident()), b)[1]), name="lazy")
    widget.picker.choose([layer])
    layer.corner_pixels = np.array([[0, 0], [63, 63]])
    threads.clear()
    assert widget.try_on_screen()
    assert not widget.running
    qtbot.waitUntil(lambda: widget.result is not None and not widget.running)
    assert threads and threading.get_ident() not in threads
    np.testing.assert_array_equal(viewer.layers["lazy (part)"].data, blobs())
    monkeypatch.setattr(_source, "MOST_TRIED", 1000)
    assert not widget.try_on_screen()
    assert said()[-1] == "Layer 'lazy' has 64 x 64 pixels on screen, too many for a try; zoom in first."


def test_nothing_on_screen_is_told(open_widget, blobs, said):
    viewer, widget = open_widget(blobs())
    viewer.layers["a"].corner_pixels = np.array([[70, 70], [80, 80]])
    with pytest.raises(InputError, match="'a' is not on screen"):
        part_on_screen(viewer, Source.of(viewer.layers["a"]))
    assert not widget.try_on_screen()
    assert len(viewer.layers) == 1


def test_an_estimate_says_what_does_not_fit(small, monkeypatch):
    monkeypatch.setattr("napari_metastructure.igtt.storage.SHARE", 0)
    assert "it keeps them on disk" in str(igtt_estimate(small, [(64, 64)], Control()))
