from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManifest
from pydantic import BaseModel

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.labels.recipes import Erode, Flip
from napari_metastructure.plugin._preferences import PLUGIN, Preferences, changes, merged, preferences, usable
from napari_metastructure.plugin.compare import CompareWidget
from napari_metastructure.plugin.density import DensityWidget
from napari_metastructure.plugin.igtt import IGTTWidget
from napari_metastructure.plugin.measure import MeasureWidget
from napari_metastructure.plugin.noise import NoiseWidget
from napari_metastructure.plugin.predict import PredictWidget
from napari_metastructure.plugin.study import StudyWidget
from napari_metastructure.plugin.train import TrainWidget
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.study_results import StudyConfig

WIDGETS = (
    IGTTWidget,
    TrainWidget,
    PredictWidget,
    NoiseWidget,
    DensityWidget,
    StudyWidget,
    CompareWidget,
    MeasureWidget,
)


@pytest.fixture
def page(plugin_settings, npe2pm):
    """This plugin's page of napari's preferences, kept in a folder of this test."""
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    return get_plugin_settings(PLUGIN)


@pytest.fixture
def start(page, qtbot):
    """Opens a widget as at a new start of napari, and closes it again by ``shut``."""

    def make(kind, *layers):
        viewer = ViewerModel()
        for layer in layers:
            viewer.add_layer(layer)
        widget = kind(viewer)
        qtbot.addWidget(widget)
        widget.show()
        return widget

    return make


@pytest.fixture
def kept(page):
    """The file that holds what widgets showed last."""
    return page.config_path.with_name(f"{PLUGIN}-last.json")


def test_the_manifest_offers_what_widgets_use(page):
    assert preferences() == Preferences(**page.runs.model_dump()) == Preferences()
    page.runs.update({"device": "cpu", "folder": "/data/runs", "seed": 7, "preset": "paper"})
    assert preferences() == Preferences("cpu", "/data/runs", 7, "paper")


def test_widgets_open_with_the_preferences(start, page):
    page.runs.update({"device": "cpu", "seed": 7, "preset": "paper"})
    paper = {"device": "cpu", "seed": 7, "preset": "paper"}
    assert start(IGTTWidget).settings.config() == IGTTConfig.from_preset(**paper)
    assert start(TrainWidget).settings.config() == TrainConfig.from_preset(**paper)
    assert start(PredictWidget).settings.config().device == "cpu"
    assert start(NoiseWidget).seed.value() == 7
    study = start(StudyWidget)
    assert study.config().train.seed == 7
    assert study.config().train.optimizer == TrainConfig.from_preset("paper").optimizer
    compare = start(CompareWidget).config()
    assert (compare.seed, compare.device, compare.train.preset) == (7, "cpu", "paper")


@pytest.mark.parametrize("kind", (IGTTWidget, TrainWidget))
def test_a_seed_of_the_preferences_is_no_change_of_the_preset(start, page, kind):
    page.runs.seed = 7
    widget = start(kind)
    assert widget.settings.preset.box.currentText() == "default"
    widget.settings.preset.reset_button.click()
    assert widget.settings.config().seed == 7


def test_what_igtt_showed_last_comes_back(start):
    first = start(IGTTWidget)
    changed = IGTTConfig(epochs=3, thresholds=7, objects="dark", device="cpu", seed=5)
    first.settings.fill(changed)
    first.results.probability.setChecked(True)
    first.close()
    again = start(IGTTWidget)
    assert again.settings.config() == changed
    assert again.results.probability.isChecked()
    again.tools.reset_button.click()
    assert again.settings.config() == IGTTConfig()
    assert not again.results.probability.isChecked()
    assert start(IGTTWidget).settings.config() == IGTTConfig()


def test_the_other_widgets_keep_theirs(start, tmp_path):
    train = start(TrainWidget)
    train.settings.fill(TrainConfig(epochs=3, reading="classes"))
    noise = start(NoiseWidget)
    noise.set_recipe(Erode(n=4))
    noise.set_seed(11)
    noise.reading.set("classes")
    density = start(DensityWidget)
    assert density.set(bandwidth=12.5, kernel="gaussian")
    predict = start(PredictWidget)
    predict.choose_model(tmp_path / "the model µ")
    predict.set(probability=False)
    predict.batch.replace.setChecked(True)
    study = start(StudyWidget)
    study.show_config(StudyConfig(networks=("unet",), repeats=2, train=TrainConfig(epochs=4, reading="foreground")))
    compare = start(CompareWidget)
    compare.show_config(CompareConfig(methods=("otsu",), repeats=2))
    measure = start(MeasureWidget, Labels(np.eye(8, dtype=np.uint8)))
    measure.smallest_hole.setValue(7)
    measure.border.setChecked(True)
    for widget in (train, noise, density, predict, study, compare, measure):
        widget.close()
    assert start(TrainWidget).settings.config() == TrainConfig(epochs=3, reading="classes")
    noise = start(NoiseWidget)
    assert (noise.recipe(), noise.seed.value(), noise.reading.get()) == (Erode(n=4), 11, "classes")
    how = start(DensityWidget).settings.settings()
    assert (how.bandwidth, how.kernel) == (12.5, "gaussian")
    predict = start(PredictWidget)
    assert predict.model.get() == tmp_path / "the model µ"
    assert not predict.settings.config().probability
    assert not predict.batch.replace.isChecked()  # files are not replaced unasked
    study = start(StudyWidget).config()
    assert (study.networks, study.repeats, study.train.epochs) == (("unet",), 2, 4)
    assert start(CompareWidget).config() == CompareConfig(methods=("otsu",), repeats=2)
    measure = start(MeasureWidget, Labels(np.eye(8, dtype=np.uint8)))
    assert (measure.smallest_hole.value(), measure.border.isChecked()) == (7, True)
    measure.tools.reset_button.click()
    assert (measure.smallest_hole.value(), measure.border.isChecked()) == (0, False)


def test_a_preference_holds_for_what_was_not_changed(start, page):
    first = start(IGTTWidget)
    first.settings.fill(IGTTConfig(epochs=3))
    first.close()
    page.runs.device = "cpu"
    assert start(IGTTWidget).settings.config() == IGTTConfig(epochs=3, device="cpu")


def test_a_run_keeps_what_it_was_begun_with(open_widget, blobs, run, kept, page):
    _, widget = open_widget(blobs())
    run(widget)
    assert json.loads(kept.read_text("utf-8"))["igtt"]["settings"]["patch_size"] == 64


def test_numbers_by_class_follow_another_source(start, qtbot, settle):
    first = start(NoiseWidget, Labels(np.eye(8, dtype=np.uint8) * 2))
    first.reading.set("classes")
    first.set_recipe(Flip(per_class={0: 0.1, 2: 0.2}))
    settle(first)
    first.close()
    again = start(NoiseWidget, Labels(np.eye(8, dtype=np.uint8) * 3))
    settle(again)
    assert again.problem.text() == ""
    assert set(again.recipe().per_class) == {0, 3}


DAMAGED = {
    "empty": "",
    "no JSON": "{",
    "a list": "[1]",
    "a number for a widget": json.dumps(dict.fromkeys(("igtt", "train", "noise", "predict", "density", "study"), 3)),
    "text for all values": json.dumps(
        {
            "igtt": {"settings": "x", "probability": "x", "labels": None, "ome": [], "gone": 1},
            "train": {"settings": [1]},
            "predict": {"settings": None, "model": 3, "images": {}, "out": [1], "where": "x"},
            "noise": {"recipe": "x", "reading": "x", "seed": "x"},
            "density": {"settings": 1.5},
            "study": {"settings": [[]]},
            "compare": {"settings": "x"},
            "measure": {"reading": "x", "sizes": "x", "border": "x"},
        }
    ),
    "values that no longer are": json.dumps(
        {
            "igtt": {"settings": {"epochs": -3, "gone": 1, "network": "vgg", "device": 4}},
            "train": {"settings": {"epochs": "many", "classes": [1, "a"]}},
            "noise": {"recipe": [{"kind": "flop"}], "reading": "none", "seed": 2**70},
            "density": {"settings": {"bandwidth": -1, "kernel": "x", "unit": "mile"}},
            "study": {"settings": {"train": {"epochs": -1, "gone": 1}, "conditions": [{"name": 3}], "networks": ["x"]}},
            "compare": {"settings": {"methods": ["x"], "repeats": 0, "train": {"gone": 1}}},
            "measure": {"reading": 3, "sizes": [1, 2, "mile"], "border": None},
            "predict": {"where": 99, "settings": {"probability": "maybe"}},
        }
    ),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damaged_values_are_passed_over(start, kept, text):
    kept.write_text(text, "utf-8")
    shown = [start(kind) for kind in WIDGETS]
    igtt, train, predict, noise, density, study, compare, measure = shown
    assert igtt.settings.config() == IGTTConfig()
    assert train.settings.config() == TrainConfig()
    assert predict.settings.config().probability
    assert noise.recipe() == start(NoiseWidget).recipe()
    assert density.settings.settings().bandwidth == 8
    assert study.config().networks == StudyConfig().networks
    assert compare.config().repeats == CompareConfig().repeats
    assert (measure.smallest_object.value(), measure.border.isChecked()) == (0, False)
    igtt.settings.fill(IGTTConfig(epochs=3))
    for widget in shown:
        widget.close()
    assert json.loads(kept.read_text("utf-8"))["igtt"] == {"settings": {"epochs": 3}}


def test_good_values_beside_bad_ones_come_back(start, kept):
    wrong = {"epochs": -3, "gone": 1, "thresholds": 7}
    kept.write_text(json.dumps({"igtt": {"settings": wrong}, "study": {"settings": {"train": wrong, "repeats": 2}}}))
    assert start(IGTTWidget).settings.config() == IGTTConfig(thresholds=7)
    assert start(StudyWidget).config().repeats == 2


def test_damaged_preferences_are_the_defaults(plugin_settings, npe2pm, tmp_path, qtbot):
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    for text in ("- a list", "runs: 3", "runs: {device: 7, seed: -1, preset: x}", "\x00"):
        Path(tmp_path, f"{PLUGIN}.yaml").write_text(text)
        from napari import settings

        settings._clear_plugin_settings_cache()
        assert preferences() == Preferences()


def test_nothing_is_kept_where_it_cannot_be(start, kept):
    kept.mkdir()
    widget = start(IGTTWidget)
    widget.settings.fill(IGTTConfig(epochs=3))
    widget.close()
    assert start(IGTTWidget).settings.config() == IGTTConfig()
    assert list(kept.iterdir()) == []


def test_new_runs_propose_a_free_folder(start, page, tmp_path):
    page.runs.folder = str(tmp_path / "Läufe")
    widget = start(IGTTWidget)
    assert widget.folder.get() == tmp_path / "Läufe" / "igtt"
    (tmp_path / "Läufe" / "igtt").mkdir(parents=True)
    assert start(TrainWidget).folder.get() == tmp_path / "Läufe" / "train"
    assert start(IGTTWidget).folder.get() == tmp_path / "Läufe" / "igtt-2"
    widget.folder.set(tmp_path / "mine")
    widget.tools.reset_button.click()
    assert widget.folder.get() == tmp_path / "mine"
    widget.folder.set("")
    widget.tools.reset_button.click()
    assert widget.folder.get() == tmp_path / "Läufe" / "igtt-2"


def test_each_run_goes_into_the_next_folder(open_widget, blobs, run, page, tmp_path):
    page.runs.folder = str(tmp_path / "runs")
    _, widget = open_widget(blobs())
    run(widget)
    run(widget)
    assert sorted(folder.name for folder in (tmp_path / "runs").iterdir()) == ["igtt", "igtt-2"]


def test_the_next_run_and_reset_do_not_touch_a_run_that_goes_on(open_widget, blobs, pause, page):
    _, widget = open_widget(blobs())
    assert widget.start()
    pause(widget)
    assert not widget.tools.reset_button.isEnabled()


def test_a_setting_is_shown_by_what_is_different():
    before = {"a": 1, "b": {"c": 2, "d": [1, 2]}}
    after = {"a": 1, "b": {"c": 3, "d": [1]}}
    assert changes(before, after) == {"b": {"c": 3, "d": [1]}}
    assert merged(before, changes(before, after)) == after
    assert changes(before, before) == {}


def test_usable_keeps_what_it_can():
    class Inner(BaseModel, extra="forbid"):
        size: int = 1
        ways: tuple[int, ...] = (1,)

    class Outer(BaseModel, extra="forbid"):
        inner: Inner = Inner()
        name: str = "a"

    wrong = {"inner": {"size": "x", "ways": [2, "y"], "old": 1}, "name": "b", "gone": 2}
    assert usable(Outer, wrong) == Outer(name="b")
    assert usable(Outer, {"inner": 3, "name": "b"}) == Outer(name="b")
    assert usable(Outer, {}) == Outer()
