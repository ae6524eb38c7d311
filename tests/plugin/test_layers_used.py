"""Layers that are given other pixels while a job reads them, and pairs of layers that do not lie on each other."""

import numpy as np
import pytest

OTHERS = {
    "as large": lambda pixels: pixels[..., ::-1, :].copy(),
    "smaller": lambda pixels: pixels[..., :30, :20].copy(),
    "one axis more": lambda pixels: np.stack([pixels] * 3),
}


@pytest.fixture
def opened(request, discs):
    """Opens a widget whose job reads layer "a", and those of its kind that read "a mask" as well."""

    def make(kind):
        match kind:
            case "igtt":
                return request.getfixturevalue("open_widget")(discs()[0])
            case "train":
                pairs = [discs(0), discs(1)]
                return request.getfixturevalue("open_train")(*((image, mask // 255) for image, mask in pairs))
            case "study":
                return request.getfixturevalue("open_study")(2)
            case "compare":
                return request.getfixturevalue("open_compare")(methods=("otsu",))

    return make


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("igtt", "a"), ("train", "a"), ("train", "a mask"), ("study", "a"), ("study", "a mask")),
        *(("compare", "a"), ("compare", "a mask")),
    ],
)
def test_results_are_of_the_pixels_that_a_layer_had_and_the_end_says_so(opened, qtbot, kind, name, other):
    viewer, widget = opened(kind)
    layer = viewer.layers[name]
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
        layer.data = OTHERS[other](layer.data)
    assert widget.failure is None
    assert f"Other pixels were put into {name!r} since the " in widget.progress.status.text()
    assert all(made.data.shape[-2:] == (64, 64) for made in widget.made_layers())


@pytest.mark.parametrize("kind", ["igtt", "train"])
def test_pixels_that_were_replaced_before_a_job_are_its_own(opened, run, kind):
    viewer, widget = opened(kind)
    viewer.layers["a"].data = viewer.layers["a"].data.copy()
    run(widget)
    assert widget.failure is None and "Other pixels" not in widget.progress.status.text()


@pytest.mark.parametrize("kind", ["train", "study", "compare"])
def test_paint_is_no_other_pixels(opened, qtbot, kind):
    viewer, widget = opened(kind)
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
        viewer.layers["a mask"].paint((5, 5), 0)
    assert widget.failure is None and "Other pixels" not in widget.progress.status.text()


def test_paint_during_a_training_changes_neither_labels_nor_scores(opened, qtbot, monkeypatch):
    from napari_metastructure.training import train

    used, real = [], train.train

    def watched(training, config, control, *, validation, **more):
        used.extend([*training, *(validation or [])])
        return real(training, config, control, validation=validation, **more)

    monkeypatch.setattr(train, "train", watched)
    viewer, widget = opened("train")
    before = {name: viewer.layers[f"{name} mask"].data.copy() for name in "ab"}
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
        qtbot.waitUntil(lambda: bool(used))
        for name in before:
            viewer.layers[f"{name} mask"].data[...] = 0
    assert {pair.name for pair in used} == {"a", "b"}
    for pair in used:
        np.testing.assert_array_equal(pair.read_labels(), before[pair.name])


@pytest.mark.parametrize("kind", ["train", "study", "compare"])
def test_pairs_that_lie_apart_are_told_before_and_after(opened, run, said, kind):
    viewer, widget = opened(kind)
    viewer.layers["a mask"].scale = (1, 1)
    told = "Layers 'a' and 'a mask' do not lie on each other in the viewer (they differ in scale)"
    if kind != "compare":
        assert told in widget.data.summary.text()
    run(widget)
    assert widget.failure is None and any(told in message for message in said())
    assert told in widget.progress.status.text()
    viewer.layers["a mask"].scale = viewer.layers["a"].scale
    run(widget)
    assert "do not lie" not in widget.progress.status.text()


@pytest.mark.parametrize("kind", ["igtt", "train", "study", "compare"])
def test_layers_may_be_called_otherwise_during_a_job_and_after(opened, qtbot, kind):
    viewer, widget = opened(kind)
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
        viewer.layers["a"].name = "b too"
    assert widget.failure is None
    if kind == "study":
        shown = widget.labels._latest.done
        with qtbot.waitSignal(shown):
            assert widget.show_labels(["CL"])
        assert len(widget.made_layers()) == 1
