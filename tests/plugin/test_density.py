"""The density widget in real viewers, with real threads, and on the preview of the noise widget."""

import threading

import numpy as np
import pytest
from matplotlib.colors import to_hex
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels import density as density_module
from napari_metastructure.labels.recipes import Flip, Random
from napari_metastructure.labels.transition import estimate_transition_matrix
from napari_metastructure.plugin import _density_model as compute
from napari_metastructure.plugin._density_model import map_name
from napari_metastructure.plugin._layers import ORIGIN, UNSEEN_COLOR
from napari_metastructure.plugin.density import DensityWidget
from napari_metastructure.plugin.noise import NoiseWidget

SCALE = {"scale": (0.2, 0.1), "units": ("um", "um")}


def noisy(clean, share, seed=0):
    """A share of the labels flipped."""
    flips = np.random.default_rng(seed).random(clean.shape) < share
    return np.where(flips, 1 - clean, clean).astype(np.uint8)


# ---- maps -------------------------------------------------------------------------------------------------


def test_maps_are_those_counted_by_hand_on_one_scale(open_density, disc, counted):
    a, b = disc(), disc(radius=6)
    viewer, widget = open_density(a, b, real=True)
    assert [image.name for image in widget.images] == ["a density", "b density"]
    for image, pixels in zip(widget.images, (a, b), strict=True):
        np.testing.assert_allclose(image.data, counted(pixels, 8), atol=1e-7)
        np.testing.assert_allclose(image.contrast_limits, (0, counted(b, 8).max()), rtol=1e-5)
    assert widget.problem == ""
    assert all(image in viewer.layers for image in widget.images)


def test_it_shows_a_map_as_soon_as_it_is_opened(open_density, disc):
    _viewer, widget = open_density(disc(), tick=False)
    assert [image.name for image in widget.images] == ["a density"]


def test_the_slider_moves_the_map(open_density, disc, counted, qtbot):
    _viewer, widget = open_density(disc())
    (image,) = widget.images
    with qtbot.waitSignal(widget.updated, timeout=60_000):
        widget.settings.bandwidth.slider.setValue(150)
    bandwidth = widget.settings.bandwidth.value()
    assert bandwidth != 8
    np.testing.assert_allclose(image.data, counted(widget.picker.chosen()[0].data, bandwidth), atol=1e-7)
    assert image.metadata[ORIGIN]["settings"]["bandwidth"] == bandwidth


def test_histograms_have_the_colours_that_the_true_classes_show(open_density, disc, settle):
    viewer, widget = open_density(disc() * np.uint8(9), real=True)
    layer = viewer.layers["a"]
    for change in (lambda: None, lambda: layer.new_colormap(5)):
        change()
        settle(widget)
        color = to_hex(layer.get_color(9))
        assert widget.histograms.colors == ({0: UNSEEN_COLOR, 1: color},)
        assert f'<span style="color:{color}">■</span> class 1' in widget.histograms.legend.text()


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_the_kernel_and_edges_change_the_map(open_density, disc, settle, kernel):
    _viewer, widget = open_density(disc())
    (image,) = widget.images
    box = image.data.copy()
    assert widget.set(kernel=kernel)
    settle(widget)
    assert not np.allclose(image.data, box, rtol=0.05)
    plain = image.data.copy()
    assert widget.set(edges=True)
    settle(widget)
    np.testing.assert_allclose(image.data.sum(), 1, rtol=1e-4)
    assert not np.array_equal(image.data, plain)


def test_painting_is_seen_at_once(open_density, disc, counted, qtbot):
    viewer, widget = open_density(disc(), real=True)
    layer = viewer.layers["a"]
    viewer.layers.selection.active = layer
    with qtbot.waitSignal(widget.updated, timeout=60_000):
        layer.paint((5, 5), 1)
    np.testing.assert_allclose(widget.images[0].data, counted(layer.data, 8), atol=1e-7)
    with qtbot.waitSignal(widget.updated, timeout=60_000):
        layer.undo()
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), 8), atol=1e-7)
    assert viewer.layers.selection.active is layer


def test_replaced_data_is_seen_at_once(open_density, disc, counted, qtbot):
    """As the noise widget's preview does it: one layer, its data replaced."""
    viewer, widget = open_density(disc(), disc())
    other = noisy(disc(), 0.3)
    with qtbot.waitSignal(widget.updated, timeout=60_000):
        viewer.layers["b"].data = other
    np.testing.assert_allclose(widget.images[1].data, counted(other, 8), atol=1e-7)
    top = max(image.data.max() for image in widget.images)
    assert {tuple(image.contrast_limits) for image in widget.images} == {(0.0, top)}


def test_a_write_in_place_is_seen_on_request(open_density, disc, counted, settle):
    viewer, widget = open_density(disc())
    viewer.layers["a"].data[:5] = 1
    widget.refresh()
    settle(widget)
    np.testing.assert_allclose(widget.images[0].data, counted(viewer.layers["a"].data, 8), atol=1e-7)


def test_only_what_changed_is_computed(open_density, disc, monkeypatch, settle):
    viewer, widget = open_density(disc(), disc(radius=6))
    asked = []
    plain = density_module.plane_maps
    monkeypatch.setattr(
        density_module, "plane_maps", lambda labels, *rest: asked.append(labels) or plain(labels, *rest)
    )
    viewer.layers["b"].data = disc(radius=9)
    settle(widget)
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], disc(radius=9))


def test_fast_dialling_ends_at_the_last_value(open_density, disc, counted, settle):
    _viewer, widget = open_density(disc())
    for place in range(0, 400, 7):
        widget.settings.bandwidth.slider.setValue(place)
    settle(widget)
    bandwidth = widget.settings.bandwidth.value()
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), bandwidth), atol=1e-7)


def test_a_bandwidth_in_the_unit_fits_pixels_that_are_not_square(open_density, disc, counted, settle):
    _viewer, widget = open_density(disc(), **SCALE)
    assert widget.settings.bandwidth.units.itemText(1) == "µm"
    assert widget.set(bandwidth=0.6, unit="layer")
    settle(widget)
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), 3, 6), atol=1e-7)
    np.testing.assert_allclose(widget.images[0].scale, SCALE["scale"])


def test_settings_given_at_once_fit_the_layer(make_napari_viewer, disc, counted, settle):
    """Before the widget had a turn to look at it."""
    viewer = make_napari_viewer()
    layer = viewer.add_labels(disc(), **SCALE)
    widget = DensityWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert widget.set(bandwidth=0.6, unit="layer")
    settle(widget)
    np.testing.assert_allclose(widget.images[0].data, counted(layer.data, 3, 6), atol=1e-7)


def test_a_unit_that_there_is_not_is_refused(open_density, disc):
    _viewer, widget = open_density(disc())
    assert not widget.set(bandwidth=0.6, unit="layer")
    assert "no unit but pixels" in widget.problem
    assert widget.settings.settings().bandwidth == 8


def test_another_scale_is_another_bandwidth(open_density, disc, counted, settle):
    viewer, widget = open_density(disc(), **SCALE)
    widget.set(bandwidth=0.6, unit="layer")
    settle(widget)
    viewer.layers["a"].scale = (0.1, 0.1)
    settle(widget)
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), 6, 6), atol=1e-7)
    np.testing.assert_allclose(widget.images[0].scale, (0.1, 0.1))


def test_classes_each_have_a_map_or_one_has(open_density, disc, counted, settle):
    pixels = disc() + 2 * disc(radius=5)  # 1 around 3
    viewer, widget = open_density(pixels)
    assert "read them as objects" in widget.problem
    assert widget.images == []
    assert widget.set(reading="classes", label_class=None)
    settle(widget)
    assert [image.name for image in widget.images] == ["a density 1", "a density 3"]
    np.testing.assert_allclose(widget.images[1].data, counted(pixels == 3, 8), atol=1e-7)
    assert [widget.settings.classes.itemData(i) for i in range(4)] == [None, 0, 1, 3]
    widget.set(label_class=3)
    settle(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a density 3"]
    widget.set(reading="objects", label_class=1)
    settle(widget)
    np.testing.assert_allclose(widget.images[0].data, counted(pixels > 0, 8), atol=1e-7)


def test_unlabelled_pixels_are_points_of_no_class(open_density, disc, counted):
    pixels = disc()
    pixels[::2] = UNLABELLED
    _viewer, widget = open_density(pixels)
    np.testing.assert_allclose(widget.images[0].data, counted(pixels == 1, 8), atol=1e-7)


def test_a_stack_follows_the_slider(open_density, disc, counted, qtbot):
    stack = np.stack([disc(), disc(radius=5), 0 * disc()])
    viewer, widget = open_density(stack, scale=(2, 1, 1), real=True)
    viewer.dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: not widget.busy)
    (image,) = widget.images
    assert image.ndim == 2
    for step in (1, 0):
        with qtbot.waitSignal(widget.updated, timeout=60_000):
            viewer.dims.set_current_step(0, step)
        np.testing.assert_allclose(image.data, counted(stack[step], 8), atol=1e-7)
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: not widget.busy)
    assert not image.data.any()
    assert widget.problem == ""
    assert "no pixel of class 1 on this slice" in widget.status.text()
    assert widget.class_histograms == ()


def test_untick_takes_the_map_away_and_taking_it_away_unticks(open_density, disc, settle):
    viewer, widget = open_density(disc(), disc(radius=5))
    widget.picker.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    settle(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "b", "b density"]
    viewer.layers.remove("b density")
    settle(widget)
    assert widget.picker.chosen() == []
    assert [layer.name for layer in viewer.layers] == ["a", "b"]
    viewer.layers["b"].data = disc()
    viewer.add_points(np.zeros((1, 2)))
    settle(widget)
    assert len(viewer.layers) == 3
    assert widget.status.text() == "Tick a Labels layer, or press Figure 6."


def test_removed_and_renamed_meanwhile(open_density, disc, monkeypatch, settle, qtbot):
    viewer, widget = open_density(disc(), disc(radius=5), real=True)
    began, go = threading.Event(), threading.Event()
    plain = density_module.plane_maps

    def slow(*arguments):
        began.set()
        go.wait(60)
        return plain(*arguments)

    monkeypatch.setattr(density_module, "plane_maps", slow)
    widget.set(bandwidth=5)
    qtbot.waitUntil(began.is_set)
    viewer.layers.remove("a")
    viewer.layers["b"].name = "renamed"
    go.set()
    settle(widget)
    assert [layer.name for layer in viewer.layers] == ["renamed", "renamed density"]
    assert widget.problem == ""


def test_closed_while_it_works(make_napari_viewer, disc, monkeypatch, qtbot):
    viewer = make_napari_viewer()
    layer = viewer.add_labels(disc(), name="a")
    began, go, ended = threading.Event(), threading.Event(), threading.Event()
    plain = density_module.plane_maps

    def slow(*arguments):
        began.set()
        go.wait(60)
        try:
            return plain(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(density_module, "plane_maps", slow)
    widget = DensityWidget(viewer)
    dock = viewer.window.add_dock_widget(widget)
    gone = []
    widget.destroyed.connect(lambda: gone.append(1))
    qtbot.waitUntil(began.is_set)
    viewer.window.remove_dock_widget(dock)
    widget.close()
    widget.deleteLater()
    qtbot.waitUntil(lambda: gone == [1])
    go.set()
    qtbot.waitUntil(ended.is_set)
    qtbot.wait(100)
    layer.data = disc(radius=4)  # nobody is called that is not there
    layer.name = "b"
    viewer.dims.ndisplay = 3
    viewer.theme = "light"
    viewer.layers.remove(layer)


# ---- histograms and numbers -------------------------------------------------------------------------------


def test_histograms_are_those_of_numpy_by_true_class(open_density, disc, settle):
    clean = disc(64, 20)
    viewer, widget = open_density(clean, noisy(clean, 0.3))
    assert widget.choose_reference(viewer.layers["a"])
    settle(widget)
    assert [found.name for found in widget.class_histograms] == ["a density", "b density"]
    for found, image in zip(widget.class_histograms, widget.images, strict=True):
        assert found.classes == (0, 1)
        relative = image.data.astype(float) * image.data.size
        for label in (0, 1):
            expected, _ = np.histogram(relative[clean == label], bins=found.edges)
            np.testing.assert_array_equal(found.counts[label], expected)
            np.testing.assert_allclose(found.means[label], relative[clean == label].mean(), rtol=1e-5)
    assert "class 0" in widget.histograms.legend.text() and "class 1" in widget.histograms.legend.text()


def test_two_humps_of_rcl_and_one_of_rl(open_density, disc, settle):
    clean = disc(128, 40)
    random = np.random.default_rng(1).integers(0, 2, clean.shape).astype(np.uint8)
    viewer, widget = open_density(clean, noisy(clean, 0.4), random)
    widget.choose_reference(viewer.layers["a"])
    widget.set(bandwidth=12, edges=True)
    settle(widget)
    gaps = [found.means[1] - found.means[0] for found in widget.class_histograms]
    assert gaps[1] > 0.15 and abs(gaps[2]) < 0.05
    overlap = [np.minimum(*found.shares).sum() for found in widget.class_histograms]
    assert overlap[1] < 0.4 < 0.65 < overlap[2]
    clean_row, rcl, rl = (row.comparison for row in widget.numbers)
    assert clean_row.retained == 1 and clean_row.distance == 0
    assert rcl.retained > 0.9 and rl.retained < 0.1
    assert (rcl.transition.rank, rl.transition.rank) == (2, 1)
    assert rcl.distance < rl.distance
    assert "Theorem 2" in rcl.verdict.sentence and "Lemma 2" in rl.verdict.sentence
    expected = estimate_transition_matrix(clean, viewer.layers["b"].data).matrix
    np.testing.assert_array_equal(rcl.transition.matrix, expected)
    for part in ("b", "2 of 2", "1 of 2", "Theorem 2"):
        assert part in widget.table.text()


def test_a_noisy_layer_is_compared_with_its_source_by_itself(open_density, disc, settle):
    clean = disc(64, 20)
    viewer, widget = open_density(clean)
    made = viewer.add_labels(noisy(clean, 0.3), name="made", metadata={ORIGIN: {"source": "a"}})
    widget.choose([made])
    settle(widget)
    (row,) = widget.numbers
    assert (row.name, row.reference, row.comparison.transition.rank) == ("made", "a", 2)
    viewer.layers["a"].data = 1 - clean  # the truth is followed too
    settle(widget)
    np.testing.assert_allclose(widget.numbers[0].comparison.transition.matrix, row.comparison.transition.matrix[::-1])
    viewer.layers.remove("a")
    settle(widget)
    assert widget.numbers[0].reference == "made" and widget.numbers[0].comparison is None
    assert "No reference: choose" in widget.table.text()


def test_true_classes_of_another_size_are_told(open_density, disc, settle):
    viewer, widget = open_density(disc(48))
    other = viewer.add_labels(disc(40), name="other")
    widget.choose_reference(other)
    settle(widget)
    assert "48 x 48" in widget.numbers[0].problem and "40 x 40" in widget.numbers[0].problem
    assert "40 x 40" in widget.table.text()
    assert len(widget.images) == 1
    assert not widget.choose_reference(viewer.add_image(np.eye(8), name="image"))


# ---- profile ----------------------------------------------------------------------------------------------


def test_the_profile_follows_the_line(open_density, disc, qtbot, settle):
    viewer, widget = open_density(disc(), disc(radius=5), **SCALE)
    assert widget.curves == ()
    line = widget.draw_line()
    assert line.mode == "add_line" and viewer.layers.selection.active is line
    line.add([[10, 4], [40, 44]], shape_type="line")
    qtbot.waitUntil(lambda: len(widget.curves) == 2)
    for curve, image in zip(widget.curves, widget.images, strict=True):
        assert curve.name == image.name
        np.testing.assert_allclose(curve.density[[0, -1]], image.data[[10, 40], [4, 44]] * image.data.size, rtol=1e-5)
        np.testing.assert_allclose(curve.distance[-1], 50)
    before = widget.curves[0].density
    line.data = [np.array([[20.0, 4.0], [20.0, 44.0]])]
    qtbot.waitUntil(lambda: len(widget.curves[0].density) == 41)
    np.testing.assert_allclose(widget.curves[0].density / 48**2, widget.images[0].data[20, 4:45], rtol=1e-5)
    assert len(before) != 41
    widget.set(bandwidth=0.6, unit="layer")
    settle(widget)
    np.testing.assert_allclose(widget.curves[0].distance[-1], 4)
    np.testing.assert_allclose(widget.curves[0].density / 48**2, widget.images[0].data[20, 4:45], rtol=1e-5)
    assert widget.draw_line() is line
    viewer.layers.remove(line)
    qtbot.waitUntil(lambda: widget.curves == ())


def test_a_line_that_is_drawn_is_followed_live(open_density, disc, qtbot):
    """Through napari's own mouse callbacks; ``data`` is told only once the button is let go."""
    from napari.utils._test_utils import read_only_mouse_event
    from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks

    _viewer, widget = open_density(disc(), real=True)
    line = widget.draw_line()

    def event(kind, place, dragging):
        return read_only_mouse_event(type=kind, is_dragging=dragging, position=place, pos=np.array(place))

    mouse_press_callbacks(line, event("mouse_press", (10, 10), False))
    lengths = []
    for end in (20, 30):
        mouse_move_callbacks(line, event("mouse_move", (10, end), True))
        qtbot.wait(50)
        lengths.append(round(widget.curves[0].distance[-1]))
    assert lengths == [10, 20]


# ---- whole stacks -----------------------------------------------------------------------------------------


def test_whole_stacks_become_layers(open_density, disc, counted, qtbot):
    stack = np.stack([disc(), disc(radius=5)])
    viewer, widget = open_density(stack, stack[::-1], scale=(2, 0.2, 0.1), units=("s", "um", "um"), real=True)
    widget.set(bandwidth=0.6, unit="layer")
    seen = []
    widget.run.bar.valueChanged.connect(lambda done: seen.append((done, widget.run.bar.maximum())))
    with qtbot.waitSignal(widget.stacks_ended, timeout=60_000):
        assert widget.make_stacks()
        assert not widget.make_stacks()  # one after the other
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    first, second = widget.made
    assert (first.name, first.data.shape) == ("a density (stack)", (2, 48, 48))
    np.testing.assert_allclose(first.data[1], counted(stack[1], 3, 6), atol=1e-7)
    np.testing.assert_allclose(first.extent.world, viewer.layers["a"].extent.world)
    assert first.contrast_limits == second.contrast_limits == [0, max(first.data.max(), second.data.max())]
    assert first.metadata[ORIGIN]["settings"]["bandwidth"] == 0.6
    assert widget.stack_button.isEnabled() and not widget.run.isVisibleTo(widget)
    viewer.layers["a"].translate = (0, 7, 7)
    np.testing.assert_allclose(first.extent.world, viewer.layers["a"].extent.world)


def test_stacks_can_be_stopped(open_density, disc, qtbot, monkeypatch):
    _viewer, widget = open_density(np.stack([disc()] * 3))
    go, plain = threading.Event(), density_module.plane_maps
    monkeypatch.setattr(density_module, "plane_maps", lambda *rest: go.wait(60) and plain(*rest))
    with qtbot.waitSignal(widget.stacks_ended, timeout=60_000):
        widget.make_stacks()
        widget.stop_stacks()
        go.set()
    assert widget.made == []


# ---- what is wrong ----------------------------------------------------------------------------------------


def test_a_bandwidth_larger_than_the_image_is_told_and_mended(open_density, disc, counted, settle):
    _viewer, widget = open_density(disc())
    widget.settings.bandwidth.number.setValue(100)
    settle(widget)
    assert "'a'" in widget.problem and "larger than the image" in widget.problem
    assert widget.status.text() == widget.problem
    assert not widget.images[0].data.any()
    widget.settings.bandwidth.number.setValue(8)
    settle(widget)
    assert widget.problem == ""
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), 8), atol=1e-7)


def test_what_is_wrong_with_one_leaves_the_other_alone(open_density, disc, counted, settle):
    instances = disc() + 5 * disc(radius=4)
    _viewer, widget = open_density(disc(), instances)
    assert "'b'" in widget.problem and "read them as objects" in widget.problem
    assert [image.name for image in widget.images] == ["a density"]
    np.testing.assert_allclose(widget.images[0].data, counted(disc(), 8), atol=1e-7)
    widget.set(reading="objects")
    settle(widget)
    assert widget.problem == "" and len(widget.images) == 2


@pytest.mark.parametrize("settings", [{"bandwidth": -1}, {"kernel": "no"}, {"nonsense": 1}, {"label_class": -2}])
def test_settings_that_cannot_be_are_refused(open_density, disc, settings, said):
    _viewer, widget = open_density(disc())
    before = widget.settings.settings()
    assert not widget.set(**settings)
    assert widget.settings.settings() == before
    assert widget.problem == said()[-1]
    assert next(iter(settings)).split("_")[0] in widget.problem.lower() or "Density of" in widget.problem


def test_an_image_cannot_be_chosen(open_density, disc, said):
    viewer, widget = open_density(disc())
    assert not widget.choose([viewer.add_image(np.eye(8), name="picture")])
    assert "'picture' is a Image layer" in said()[-1] or "picture" in said()[-1]


def test_nothing_ticked_makes_no_stacks(open_density, said):
    _viewer, widget = open_density()
    assert not widget.make_stacks()
    assert "No Labels layer is ticked" in said()[-1]


def test_a_class_that_is_nowhere(open_density, disc, settle, qtbot, said):
    _viewer, widget = open_density(disc())
    widget.set(label_class=7)
    settle(widget)
    assert "no pixel of class 7" in widget.status.text()
    assert not widget.images[0].data.any()
    with qtbot.waitSignal(widget.stacks_ended, timeout=60_000):
        widget.make_stacks()
    assert "on any slice" in said()[-1]


def test_in_3d_it_says_so_and_goes_on_in_2d(open_density, disc, settle):
    viewer, widget = open_density(np.stack([disc()] * 2))
    viewer.dims.ndisplay = 3
    settle(widget)
    assert "2D" in widget.problem
    viewer.dims.ndisplay = 2
    settle(widget)
    assert widget.problem == "" and widget.images[0].data.any()


def test_a_slider_outside_the_layer(open_density, disc, settle):
    viewer, widget = open_density(np.stack([disc()] * 2))
    viewer.add_image(np.zeros((9, 48, 48)))
    viewer.dims.set_current_step(0, 7)
    settle(widget)
    assert "'a' has no slice here" in widget.problem
    assert not widget.images[0].data.any()
    viewer.dims.set_current_step(0, 1)
    settle(widget)
    assert widget.images[0].data.any()


def test_a_lazy_layer_that_fails_is_told(open_density, disc, settle):
    class Broken:
        """Fails only in the widget's own thread: napari itself has to draw it."""

        dtype, ndim, shape, broken = np.dtype(np.uint8), 2, (48, 48), False

        def __getitem__(self, at):
            if self.broken and threading.current_thread() is not threading.main_thread():
                raise OSError("the disk is gone")
            return disc()[at]

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self[()], dtype)

    data = Broken()
    viewer, widget = open_density(disc())
    viewer.layers["a"].data = data
    settle(widget)
    assert widget.images[0].data.any()
    data.broken = True
    widget.refresh()
    settle(widget)
    assert "'a' cannot be read: the disk is gone" in widget.problem


def test_a_fault_of_our_own_is_told_and_the_widget_lives_on(open_density, disc, monkeypatch, settle):
    _viewer, widget = open_density(disc())
    with monkeypatch.context() as patch:
        patch.setattr(compute.DensityWorker, "compute", lambda self, requests: 1 / 0)
        widget.set(bandwidth=4)
        settle(widget)
        assert "ZeroDivisionError" in widget.problem
    widget.set(bandwidth=5)
    settle(widget)
    assert widget.problem == "" and widget.images[0].data.any()


def test_opened_from_the_menu_it_knows_its_layers(make_napari_viewer, disc, settle, qtbot):
    """napari hands such widgets a proxy of the viewer, whose layers are proxies as well."""
    viewer = make_napari_viewer()
    layer = viewer.add_labels(disc(), name="a")
    _, widget = viewer.window.add_plugin_dock_widget("napari-metastructure", "Meta-structure density")
    settle(widget)
    line = widget.draw_line()
    assert widget.lines.chosen() is line
    line.add([[10, 4], [40, 44]], shape_type="line")
    qtbot.waitUntil(lambda: len(widget.curves) == 1)
    assert widget.picker.chosen() == [layer]
    viewer.layers.remove("a density")
    settle(widget)
    assert widget.picker.chosen() == []


# ---- with the noise widget, whose dial moves the density -------------------------------------------------


@pytest.fixture
def both(request, qtbot, settle):
    """Label pixels, the noise widget, and the density widget on its preview and them; ``real`` in a window."""

    def make(pixels, real=False):
        viewer = request.getfixturevalue("make_napari_viewer")() if real else ViewerModel()
        source = viewer.add_labels(pixels, name="a")
        noise, density = NoiseWidget(viewer), DensityWidget(viewer)
        for widget in (noise, density):
            viewer.window.add_dock_widget(widget) if real else qtbot.addWidget(widget)
        noise.set_recipe(Flip(fraction=0.1))
        noise.preview_on(True)
        settle(noise, density)
        assert density.choose([source, noise.preview.layer])
        settle(noise, density)
        return viewer, noise, density

    return make


def test_the_dial_moves_the_density(both, disc, counted, qtbot, settle):
    viewer, noise, density = both(disc(64, 20), real=True)
    preview = noise.preview.layer
    image = viewer.layers[map_name("a noise preview", 1, False)]
    left = []
    for recipe in (Flip(fraction=0.2), Flip(fraction=0.45), Random(probability=0.3)):
        with qtbot.waitSignal(density.updated, timeout=60_000):
            noise.set_recipe(recipe)
        settle(noise, density)
        assert noise.preview.layer is preview
        np.testing.assert_allclose(image.data, counted(preview.data == 1, 8), atol=1e-7)
        row = density.numbers[1]
        assert (row.name, row.reference) == ("a noise preview", "a")
        left.append(row.comparison.retained)
    assert left[0] > 0.8 and left[2] < 0.2
    assert density.numbers[1].comparison.transition.rank == 1
    top = max(shown.data.max() for shown in density.images)
    assert {tuple(shown.contrast_limits) for shown in density.images} == {(0.0, top)}


def test_painting_the_source_moves_both(both, disc, counted, settle):
    viewer, noise, density = both(disc(64, 20))
    viewer.layers["a"].paint((4, 4), 1)
    settle(noise, density)
    settle(noise, density)
    np.testing.assert_allclose(
        viewer.layers[map_name("a noise preview", 1, False)].data, counted(noise.preview.layer.data == 1, 8), atol=1e-7
    )
    np.testing.assert_allclose(viewer.layers["a density"].data, counted(viewer.layers["a"].data, 8), atol=1e-7)


def test_a_stack_with_a_preview_of_the_slice_in_sight(both, disc, counted, settle):
    viewer, noise, density = both(np.stack([disc(48, 14), disc(48, 6), 0 * disc()]))
    for step in (0, 1, 2):
        viewer.dims.set_current_step(0, step)
        settle(noise, density)
        settle(noise, density)
        assert density.problem == ""
        points = noise.preview.layer.data == 1
        expected = counted(points, 8) if points.any() else np.zeros(points.shape)
        np.testing.assert_allclose(viewer.layers[map_name("a noise preview", 1, False)].data, expected, atol=1e-7)


def test_without_its_preview_the_density_goes_on(both, disc, settle):
    viewer, noise, density = both(disc(48, 14))
    noise.preview_on(False)
    settle(noise, density)
    assert sorted(layer.name for layer in viewer.layers) == ["a", "a density"]
    assert density.problem == ""


def test_a_reference_that_lies_elsewhere_is_told(open_density, disc, settle):
    viewer, widget = open_density(disc())
    other = viewer.add_labels(disc(), name="other", translate=(0, 9))
    widget.choose_reference(other)
    settle(widget)
    assert "'a' and 'other' do not lie on each other" in widget.status.text()
    other.translate = (0, 0)
    settle(widget)
    assert widget.status.text() == ""
