"""The frame of widgets with a job: bars and time left, a run folder, and a job from its start to its end."""

import subprocess
import sys
import threading
from itertools import pairwise

import pytest
import yaml
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.outputs import IGTTRun
from napari_metastructure.plugin import _progress
from napari_metastructure.plugin._inputs import FolderRow, lay_out
from napari_metastructure.plugin._job_widget import JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._progress import Clock, EpochProgress, ProgressPanel, duration
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin.compare import CompareWidget
from napari_metastructure.plugin.igtt import RESUMED, IGTTWidget, SettingsPanel
from napari_metastructure.plugin.predict import PredictWidget
from napari_metastructure.plugin.study import StudyWidget
from napari_metastructure.plugin.train import TrainWidget
from napari_metastructure.training.control import Stopped
from napari_metastructure.training.events import BatchFinished, EpochFinished, RunStarted, Warned

# ---- bars and time left ------------------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch):
    class Time:
        value = 100.0

        def monotonic(self):
            return self.value

    clock = Time()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def test_time_left_is_proportional_and_pauses_do_not_count(now):
    clock = Clock()
    assert clock.left(0.5) is None
    clock.start()
    now.value += 10
    assert clock.left(0.25) == pytest.approx(30)
    clock.pause()
    now.value += 1000
    assert clock.left(0.25) == pytest.approx(30)
    clock.resume()
    now.value += 10
    assert clock.left(0.5) == pytest.approx(20)
    assert clock.left(0) is None


@pytest.mark.parametrize(
    ("epochs", "said"), [(0, "done without training"), (1, "done after 1 epoch"), (4, "4 of 4 epochs")]
)
def test_the_bars_of_a_run_that_ended_by_itself_are_full(qtbot, epochs, said):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=2, device="cpu"))
    if epochs:
        panel.show_epoch(EpochFinished(epochs, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    panel.show_done(epochs)
    assert panel.outer.format() == said and panel.outer.value() == panel.outer.maximum()
    assert panel.inner.format() == "" and panel.inner.value() == panel.inner.maximum()


def test_bars_and_time_follow_a_run(qtbot, now):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=2, device="cpu"))
    assert panel.outer.format() == "0 of 4 epochs"
    now.value += 5
    panel.show_batch(BatchFinished(1, 5, 10, 0.3))
    assert (panel.inner.value(), panel.inner.maximum()) == (5, 10)
    assert panel.eta.text().startswith("35 s left, done by ")
    panel.show_epoch(EpochFinished(1, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    assert (panel.outer.value(), panel.outer.maximum()) == (1, 4)
    panel.end("Over.")
    assert panel.eta.text() == ""
    assert panel.status.text() == "Over."


def test_a_resumed_run_counts_only_what_is_ahead(qtbot, now):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=1, device="cpu", resumed_epoch=2))
    now.value += 6
    panel.show_epoch(EpochFinished(3, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    assert panel.eta.text().startswith("6 s left")


def test_all_lines_of_a_long_sentence_have_room_at_once(qtbot):
    panel, widget = ProgressPanel("one bar"), QWidget()
    lay_out(widget, [panel])
    qtbot.addWidget(widget)
    widget.setFixedWidth(360)
    widget.show()
    before = panel.status.height()
    panel.say("The masks no longer change; they are those of epoch 4.")
    assert panel.status.height() >= panel.status.heightForWidth(panel.status.width())
    panel.end("The masks no longer change; they are those of epoch 4. " * 3)
    assert panel.status.height() >= panel.status.heightForWidth(panel.status.width()) > before
    assert panel.rect().contains(panel.status.geometry())


@pytest.mark.parametrize(("seconds", "words"), [(3.6, "4 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


# ---- a run folder, in whatever state its files are --------------------------------------------------------


def write(folder, *, settings=None, metrics=None, state=True):
    folder.mkdir(exist_ok=True)
    settings = yaml.safe_dump({"config": IGTTConfig(epochs=7).model_dump()}) if settings is None else settings
    (folder / "run.yaml").write_text(settings)
    if metrics is not None:
        (folder / "metrics.csv").write_text(metrics)
    if state:
        (folder / "last.pt").write_bytes(b"")
    return folder


def test_settings_and_rounds_come_back(tmp_path):
    write(tmp_path, metrics="epoch,loss,agreement,seconds\n0,nan,nan,1\n1,0.5,0.8,1\n2,0.4,0.9,1\n")
    run = IGTTRun.find(tmp_path)
    assert run.config() == IGTTConfig(epochs=7)
    assert run.rounds == [(1, 0.5, 0.8), (2, 0.4, 0.9)]
    assert run.epoch == 2
    assert run.can_go_on


@pytest.mark.parametrize("metrics", [None, "", "epoch,loss\n1,0.5\n", "epoch,loss,agreement\n1,x,0.5\n"])
def test_without_metrics_only_the_curves_are_missing(tmp_path, metrics):
    run = IGTTRun.find(write(tmp_path, metrics=metrics))
    assert run.epoch == 0
    assert run.config().epochs == 7


@pytest.mark.parametrize("name", ["last.pt", "run.yaml", "model.safetensors", "metrics.csv"])
def test_any_file_of_a_run_takes_a_folder(tmp_path, name):
    assert IGTTRun.find(tmp_path) is None
    (tmp_path / "notes.txt").write_text("mine")
    assert IGTTRun.find(tmp_path) is None
    (tmp_path / name).write_text("")
    assert IGTTRun.find(tmp_path).can_go_on is (name == "last.pt")


@pytest.mark.parametrize("folder", [None, "", "nowhere/at/all", "a\0b"])
def test_no_folder_holds_no_run(tmp_path, folder):
    assert IGTTRun.find(None if folder is None else tmp_path / folder) is None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("config: {epochs: 0}", "epochs must be a whole number from 1 to 10000, not 0"),
        ("config: {colour: red}", "colour: "),
        ("config: [1, 2", "damaged"),
        ("42", "damaged"),
        ("", "damaged"),
        ("config:\n", "no settings"),
    ],
)
def test_settings_that_cannot_be_read_are_one_sentence(tmp_path, settings, why):
    with pytest.raises(InputError, match=f"run.yaml cannot be read: .*{why}") as caught:
        IGTTRun.find(write(tmp_path, settings=settings)).config()
    assert "\n" not in str(caught.value)


def test_a_folder_beside_is_a_free_one(qtbot, tmp_path):
    form = SettingsPanel()
    qtbot.addWidget(form)
    folder = RunInFolder(IGTTRun, form, (), RESUMED, "igtt", RangeRows("segmented"))
    qtbot.addWidget(folder.row)
    assert folder.free_beside() is None
    folder.row.set(tmp_path / "run")
    assert folder.free_beside() == tmp_path / "run"
    (tmp_path / "run").mkdir()
    assert folder.free_beside() == tmp_path / "run"
    write(tmp_path / "run")
    (tmp_path / "run-2").mkdir()
    assert folder.free_beside() == tmp_path / "run-3"


def test_the_row_offers_what_the_folder_allows(qtbot, tmp_path):
    row = FolderRow(IGTTRun, RESUMED)
    qtbot.addWidget(row)
    parts = (row.found, row.load_button, row.resume_button)
    assert all(part.isHidden() for part in parts)
    row.path.line.setText("~nobody-has-this-name/x")  # as it is typed
    assert row.get() is not None
    row.set(write(tmp_path, metrics="epoch,loss,agreement\n3,0.5,0.8\n"))
    assert not any(part.isHidden() for part in parts)
    assert row.minimumSizeHint().width() < 320  # of the 340 that the widget needs
    assert "epoch 3" in row.found.text()
    assert row.resume_button.isEnabled()
    (tmp_path / "last.pt").unlink()
    row.look()
    assert not row.resume_button.isEnabled()
    assert row.load_button.isEnabled()
    row.set(None)
    assert all(part.isHidden() for part in parts)


# ---- a job from its start to its end -------------------------------------------------------------------------


class Counting(JobWidget):
    """Counts as far as its line says."""

    title, name = "The counting", "igtt"

    def __init__(self, viewer):
        super().__init__(viewer, RunButtons("Count.", "Count", "Cancel"), ProgressPanel("Numbers counted."))
        self.line = QLineEdit("3")
        self.form = (self.line,)
        lay_out(self, (self.line, self.buttons, self.progress))
        self.listen(viewer.layers.events.inserted, self._on_layer)
        self.release_with(lambda: self.ends.append("released"))
        self.counted, self.most, self.layers, self.ends = [], 0, 0, []
        self.go = threading.Event()
        self.go.set()

    def prepare(self):
        if not self.line.text().isdigit():
            raise InputError(f"{self.line.text()!r} is no number; type one.")
        self.counted, most, go = [], int(self.line.text()), self.go

        def job(control):
            yield most
            try:
                for number in range(most):
                    go.wait(60)
                    control.checkpoint()
                    if number == 7:
                        raise RuntimeError("seven")
                    yield number + 1.0
            except Stopped:
                yield Warned("Stopped early.")

        return job

    def on_event(self, event):
        match event:
            case int(most):
                self.most = most
                self.progress.begin(0, most, "")
            case float(number):
                self.counted.append(number)
                self.progress.show_outer(number, self.most, f"{number:.0f}")
            case Warned(message):
                self.warn(message)

    def on_end(self):
        self.ends.append(self.failure)

    def summary(self):
        return self.why_stopped or f"Counted to {len(self.counted)}."

    def _on_layer(self, event):
        self.layers += 1


@pytest.fixture
def counting(qtbot):
    widget = Counting(ViewerModel())
    qtbot.addWidget(widget)
    yield widget
    widget.go.set()
    widget.stop()
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)


def test_a_job_is_shown_from_its_start_to_its_end(counting, qtbot):
    counting.go.clear()
    with qtbot.waitSignal(counting.finished, timeout=60_000):
        counting.buttons.run.click()
        assert counting.running
        assert not counting.line.isEnabled() and not counting.buttons.run.isEnabled()
        assert counting.progress.status.text() == "Preparing…"
        counting.go.set()
    assert counting.counted == [1, 2, 3]
    assert counting.line.isEnabled() and counting.buttons.run.isEnabled()
    assert not counting.buttons.stop.isEnabled()
    assert counting.progress.status.text() == "Counted to 3."
    assert counting.progress.outer.format() == "3"
    assert counting.progress.eta.text() == ""
    assert counting.progress.inner.isHidden()
    assert counting.ends == [None]


def test_what_is_wrong_starts_nothing_and_is_said_in_both_places(counting, said):
    counting.line.setText("three")
    assert not counting.start()
    assert not counting.running and counting.line.isEnabled()
    assert counting.progress.status.text() == said()[-1] == "'three' is no number; type one."


def test_what_may_not_be_used_starts_nothing(counting, said):
    def prepare():
        raise PermissionError(13, "Permission denied", "closed/run")

    assert not counting.begin(prepare) and not counting.running
    assert counting.progress.status.text() == said()[-1]
    assert said()[-1].startswith("No permission to use closed/run;")


def test_pause_resume_and_stop_say_whether_there_was_a_job(counting, qtbot, said):
    assert not (counting.pause() or counting.resume() or counting.stop())
    counting.line.setText("5")
    counting.go.clear()
    with qtbot.waitSignal(counting.finished, timeout=60_000):
        assert counting.start()
        assert not counting.start()
        assert said()[-1] == "The counting is going on; stop it first."
        assert counting.pause()
        assert not counting.buttons.resume.isHidden()
        assert counting.resume()
        assert counting.stop("Stopped because.")
        assert not counting.pause(), "it is ending"
        assert not counting.buttons.stop.isEnabled()
        counting.go.set()
    assert "Stopped early." in said()
    assert counting.progress.status.text() == "Stopped because."
    with qtbot.waitSignal(counting.finished, timeout=60_000):
        assert counting.start()
    assert counting.progress.status.text() == "Counted to 5.", "why the first was stopped is forgotten"


def test_a_failure_is_said_and_the_next_job_runs(counting, qtbot, said):
    counting.line.setText("9")
    with qtbot.waitSignal(counting.finished, timeout=60_000):
        assert counting.start()
    assert isinstance(counting.failure, RunFailed)
    assert counting.progress.status.text() == said()[-1] == "The counting failed: RuntimeError: seven"
    assert counting.ends == [counting.failure]
    counting.line.setText("2")
    with qtbot.waitSignal(counting.finished, timeout=60_000):
        assert counting.start()
    assert counting.failure is None


def test_files_are_written_in_the_background(counting, qtbot, said, tmp_path):
    def write():
        raise InputError("The disk is full; free some room.")

    for job, paths in ((lambda: [tmp_path / "a.csv"], [tmp_path / "a.csv"]), (write, [])):
        with qtbot.waitSignal(counting.saved, timeout=60_000) as saved:
            counting.save_in_background(job)
        assert saved.args == [paths]
        wrong = f"Saved a.csv in {tmp_path}." if paths else "The disk is full; free some room."
        assert counting.progress.status.text() == wrong
    assert said() == ["The disk is full; free some room."]


def test_a_deleted_widget_ends_its_job_and_lets_go_of_the_viewer(qtbot):
    viewer = ViewerModel()
    widget = Counting(viewer)
    ends = widget.ends
    viewer.add_points()
    assert widget.layers == 1
    widget.go.clear()
    assert widget.start()
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        widget.deleteLater()
    assert control.stopped
    assert ends == ["released"]
    widget.go.set()
    viewer.add_points()
    assert widget.layers == 1


# ---- opening ---------------------------------------------------------------------------------------------------


def test_widgets_open_without_heavy_libraries():
    """All in one fresh process: importing napari and Qt is what takes the time."""
    widgets = {
        "igtt": "IGTTWidget",
        "train": "TrainWidget",
        "predict": "PredictWidget",
        "study": "StudyWidget",
        "compare": "CompareWidget",
        "noise": "NoiseWidget",
        "density": "DensityWidget",
    }
    code = f"""
import importlib, sys
from napari.components import ViewerModel
from napari._qt.qt_event_loop import get_qapp
app, opened = get_qapp(), []
for module, name in {widgets}.items():
    opened.append(getattr(importlib.import_module("napari_metastructure.plugin." + module), name)(ViewerModel()))
    heavy = [name for name in ("torch", "matplotlib", "segmentation_models_pytorch", "timm") if name in sys.modules]
    print(module, *heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(widgets)


@pytest.mark.parametrize("kind", [IGTTWidget, TrainWidget, PredictWidget, StudyWidget, CompareWidget])
def test_behind_naparis_proxy_every_part_has_the_viewer_itself(kind, qtbot):
    """napari hands widgets of its menus a proxy of the viewer, which returns proxies of layers."""
    viewer = ViewerModel()
    widget = kind(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    parts = [part for part in (widget, *widget.findChildren(QWidget)) if hasattr(part, "viewer")]
    assert all(part.viewer is viewer for part in parts)
    assert widget.viewer.add_points() is viewer.layers[0]


def test_the_start_of_a_run_is_no_pace_of_its_epochs(qtbot, now):
    """It once said 39 minutes, then 17."""
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=2, device="cpu"))
    now.value += 60
    panel.show_epoch(EpochFinished(0, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    seen = []
    for epoch in range(1, 5):
        for batch in range(1, 11):
            now.value += 1
            panel.show_batch(BatchFinished(epoch, batch, 10, 0.3))
            seen.append(panel.eta.text().split(" left")[0])
        now.value += 1
        panel.show_epoch(EpochFinished(epoch, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    left = [int(text.removesuffix(" s")) for text in seen if text]
    assert left[0] <= 44
    assert all(abs(a - b) <= 4 for a, b in pairwise(left))


def test_what_was_expected_counts_until_an_epoch_is_done_and_a_pause_says_so(qtbot, now):
    panel = EpochProgress("epochs", "batches")
    qtbot.addWidget(panel)
    panel.expected = 100
    panel.begin_epochs(RunStarted(epochs=4, batches=10, images=2, device="cpu"))
    panel.show_epoch(EpochFinished(0, 4, 0.3, 0.9, 0.1, (), (), (), (), 1, 0))
    now.value += 5
    panel.show_batch(BatchFinished(1, 1, 10, 0.3))
    assert panel.eta.text().startswith("1 min 35 s left")
    panel.pause()
    panel.show_batch(BatchFinished(1, 2, 10, 0.3))
    assert panel.eta.text() == "Paused"
    now.value += 1000
    panel.resume()
    assert panel.eta.text().startswith("1 min 35 s left")
