"""What is chosen: methods, and ground truth for each image."""

import numpy as np
import pytest

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.errors import InputError
from napari_metastructure.plugin.compare import CompareSettings, MethodBoxes, truth_planes
from napari_metastructure.training.config import TrainConfig


def test_all_methods_are_offered_those_that_learn_once_there_is_truth(qtbot):
    boxes = MethodBoxes()
    qtbot.addWidget(boxes)
    assert boxes.chosen() == CompareConfig().methods
    titles = [box.text() for box in boxes.boxes.values()]
    assert titles[::4] == ["Otsu", "DFC", "iGTT, paper", "DeepLabv3+ (supervised)"]
    learning = ["unet", "hrnet", "deeplabv3plus"]
    assert [name for name, box in boxes.boxes.items() if not box.isEnabled()] == learning
    assert all("ground truth above" in boxes.boxes[name].toolTip() for name in learning)
    boxes.set_labelled(True)
    assert all(box.isEnabled() for box in boxes.boxes.values())
    assert not any("ground truth above" in box.toolTip() for box in boxes.boxes.values())


def test_a_method_that_lost_its_truth_is_ticked_again_with_the_next(qtbot):
    boxes = MethodBoxes()
    qtbot.addWidget(boxes)
    boxes.choose(["otsu", "unet"])
    assert boxes.chosen() == ("otsu",)
    boxes.set_labelled(True)
    assert boxes.chosen() == ("otsu", "unet")
    boxes.set_labelled(False)
    boxes.set_labelled(False)
    assert boxes.chosen() == ("otsu",)
    boxes.set_labelled(True)
    boxes.boxes["unet"].setChecked(False)
    boxes.set_labelled(False)
    boxes.set_labelled(True)
    assert boxes.chosen() == ("otsu",)


def test_the_form_gives_what_was_filled_in(qtbot):
    settings = CompareSettings()
    qtbot.addWidget(settings)
    config = CompareConfig(
        methods=("lc", "igtt"),
        repeats=5,
        seed=11,
        objects="dark",
        device="cpu",
        rounds=4,
        dfc_iterations=30,
        ac_steps=40,
        train=TrainConfig(epochs=7, batch_size=3, loss="dice"),
    )
    settings.fill(config)
    assert settings.config(config.methods) == config
    with pytest.raises(InputError, match="No method"):
        settings.config(())


def test_labels_with_the_name_of_their_image_are_its_truth(open_compare):
    viewer, widget = open_compare(images=2, window=False)
    assert [layer.name for layer in widget.truth.chosen()] == ["a mask", "b mask"]
    assert widget.methods.boxes["unet"].isEnabled()
    del viewer.layers["b mask"]
    assert widget.truth.chosen()[1] is None
    assert not widget.methods.boxes["unet"].isEnabled()
    viewer.add_labels(np.ones((64, 64), np.uint8), name="of the same shape")
    assert widget.truth.chosen()[1] is None, "nobody knows what it is"
    new = viewer.add_labels(np.ones((64, 64), np.uint8), name="b labels")
    assert widget.truth.chosen()[1] is new
    assert widget.methods.boxes["unet"].isEnabled()


def test_what_the_user_chose_is_left_alone(open_compare):
    viewer, widget = open_compare(images=2, window=False)
    a, b = viewer.layers["a"], viewer.layers["b"]
    widget.truth.choose(b, None)
    viewer.add_labels(np.ones((64, 64), np.uint8), name="b labels")
    assert widget.truth.chosen()[1] is None
    widget.truth.choose(b, viewer.layers["b labels"])
    widget.picker.choose([b])
    assert widget.truth.chosen() == [viewer.layers["b labels"]]
    widget.picker.choose([a, b])
    assert widget.truth.chosen() == [viewer.layers["a mask"], viewer.layers["b labels"]]
    widget.truth.choose(a, None)
    widget.truth.choose(b, None)
    assert widget.truth.truths() == []


def test_masks_of_a_comparison_are_no_ground_truth(open_compare, run, made):
    viewer, widget = open_compare(images=1, truth=False, methods=("otsu",), window=False)
    run(widget)
    assert not widget.truth.choose(viewer.layers["a"], made(viewer, "a", "otsu"))
    assert widget.truth.chosen() == [None]


def test_rows_bear_the_names_of_their_images(open_compare):
    viewer, widget = open_compare(images=1, window=False)
    viewer.layers["a"].name = "something with quite a long name"
    (row,) = widget.truth._rows
    assert row.label.text() == "something with quite …"
    assert row.label.toolTip() == "something with quite a long name"
    del viewer.layers["something with quite a long name"]
    assert widget.truth.chosen() == []


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 255, 255, 0], np.uint8, [False, True, True, False]),
        ([0, 1, 1, 0], np.uint8, [False, True, True, False]),
        ([0, 1, 254, 255], np.uint16, [False, True, True, True]),
        ([0, 1, 255, 1], np.uint16, [0, 1, 255, 1]),
        ([0, 0, 0, 0], int, [False] * 4),
    ],
)
def test_what_labels_mean_as_truth(values, dtype, expected):
    from napari.layers import Labels

    labels = np.array(values, dtype).reshape(2, 1, 2)
    planes = truth_planes(Labels(labels, name="x"))
    assert [plane.shape for plane in planes] == [(1, 2), (1, 2)]
    assert np.ravel(planes).tolist() == expected
    assert planes[0].dtype == (np.uint8 if 255 in expected else bool)
    labels[...] = 0
    assert np.ravel(planes).tolist() == expected, "they are copies"


def test_negative_labels_are_refused():
    from napari.layers import Labels

    with pytest.raises(InputError, match=r"'x': the label -1"):
        truth_planes(Labels(np.array([[0, -1]]), name="x"))
