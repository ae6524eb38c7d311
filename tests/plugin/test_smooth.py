"""The window stays smooth during a run: what the main thread does in one turn of Qt's loop, counted and not timed.

How long it takes on this machine, `benchmarks/smoothness.py` prints.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from qtpy.QtCore import QAbstractEventDispatcher, QCoreApplication, QEvent, QObject
from qtpy.QtWidgets import QScrollArea, QWidget

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin._worker import EventLoopSteps, Runner
from napari_metastructure.plugin.igtt import IGTTWidget
from napari_metastructure.training.events import EpochFinished

COMPUTING = (
    *("networks", "igtt", "images", "baselines"),
    *(f"labels.{name}" for name in ("noise", "shapes", "recipes", "transition", "density", "structure")),
    *(f"training.{name}" for name in ("patches", "losses", "loop", "metrics", "train", "study")),
)
"""Packages and modules of the engine whose work belongs in the thread."""

COUNTING = ("images.ranges",)
"""Modules of these that only say which planes are taken."""


class Turns(QObject):
    """What happens in each turn of Qt's loop in which one of our handlers is at work.

    Attributes
    ----------
    done : list of Counter
        By turn: layers "inserted", given new "data", "drawn" (sliced and sent to the canvas); how often the slider
        was "moved", an "event" or "batches" handed out, and a part of the widget "painted".
    calls : list of int
        By turn: functions called by our handlers, and by what they call.
    drawn : Counter
        How often each layer was drawn, by name.
    """

    def __init__(self, viewer, widget) -> None:
        super().__init__()
        self.viewer, self.widget = viewer, widget
        self.done: list[Counter] = [Counter()]
        self.calls: list[int] = [0]
        self.drawn: Counter = Counter()
        self.at_work = False

    def start(self) -> None:
        """Watch from now on."""
        QAbstractEventDispatcher.instance().awake.connect(self._next)
        QCoreApplication.instance().installEventFilter(self)
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self.viewer.dims.events.point.connect(self._on_moved)
        for layer in self.viewer.layers:
            self._follow(layer)

    def stop(self) -> None:
        """Watch no more."""
        QAbstractEventDispatcher.instance().awake.disconnect(self._next)
        QCoreApplication.instance().removeEventFilter(self)

    def count(self, what: str) -> None:
        """Note something."""
        if self.at_work:
            self.done[-1][what] += 1

    def call(self, function: Callable, *args):
        """Call a function and count what it calls."""

        def count(frame: FrameType, event: str, arg: object) -> None:
            self.calls[-1] += event in ("call", "c_call")

        before, self.at_work = sys.getprofile(), True
        sys.setprofile(count)
        try:
            return function(*args)
        finally:
            sys.setprofile(before)
            self.at_work = False

    def calls_of(self, function: Callable, *args) -> int:
        """How many functions a function calls."""
        self._next()
        self.call(function, *args)
        return self.calls[-1]

    def most(self, what: str) -> int:
        """How often it happened in the turn in which it happened most."""
        return max(turn[what] for turn in self.done)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Note what is painted while a handler is at work."""
        ours = event.type() == QEvent.Type.Paint and isinstance(watched, QWidget) and self.widget.isAncestorOf(watched)
        if ours:
            self.count("painted")
        return False

    def _next(self) -> None:
        self.done.append(Counter())
        self.calls.append(0)

    def _on_inserted(self, event) -> None:
        self.count("inserted")
        self._follow(event.value)

    def _on_moved(self) -> None:
        self.count("moved")

    def _follow(self, layer) -> None:
        def on_drawn() -> None:
            self.count("drawn")
            self.drawn[layer.name] += self.at_work

        layer.events.data.connect(lambda: self.count("data"))
        layer.events.set_data.connect(on_drawn)


@pytest.fixture
def turns(monkeypatch) -> Iterator[Callable[..., Turns]]:
    """Watches a viewer, and the handlers of widgets that are opened after this fixture was asked for."""
    watching: list[Turns] = []

    def counted(real: Callable) -> Callable:
        return lambda self: watching[0].call(real, self) if watching else real(self)

    for owner, name in ((Runner, "_deliver"), (EventLoopSteps, "step")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))

    def watch(viewer, widget) -> Turns:
        watching.append(Turns(viewer, widget))
        watching[0].start()
        return watching[0]

    yield watch
    for watched in watching:
        watched.stop()


EPOCHS = 3


@pytest.fixture
def watched_run(turns, make_napari_viewer, qtbot, blobs, tiny, run) -> Turns:
    """A run on two images that lie over each other, probability shown.

    The widget is on screen in a window of its own: beside a canvas in OpenGL, Qt puts off paintings by itself.
    """
    viewer = make_napari_viewer()
    layers = [viewer.add_image(blobs(seed), name="ab"[seed]) for seed in range(2)]
    widget = IGTTWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.findChild(QScrollArea).ensureWidgetVisible(widget.progress)
    widget.picker.choose(layers)
    widget.settings.fill(IGTTConfig(**{**tiny, "epochs": EPOCHS}))
    widget.results.probability.setChecked(True)
    watched = turns(viewer, widget)
    watched.events, watched.batches = [], []

    def on_event(event) -> None:
        if isinstance(event, EpochFinished):
            watched.count("event")
            watched.events.append(event)

    def on_batches(batches) -> None:
        watched.count("batches")
        watched.batches.append(len(batches))

    widget.runner.event_received.connect(on_event)
    widget.runner.batches.connect(on_batches)
    run(widget)
    assert widget.failure is None
    assert widget.layers.epochs == list(range(EPOCHS + 1))
    return watched


def test_a_turn_of_the_loop_does_one_piece_of_work(watched_run):
    """One layer opened, or one given its new page, or one drawn, or the slider moved; and one epoch at most."""
    for turn in watched_run.done:
        pieces = sum(turn[what] for what in ("inserted", "data", "moved", "event"))
        if turn["inserted"]:  # napari's heaviest; the first brings the slider, which moves
            assert pieces - turn["moved"] == 1, turn
        else:
            assert pieces <= 1, turn
            assert turn["drawn"] <= (2 if turn["moved"] else 1), turn
    assert len(watched_run.events) == EPOCHS + 1
    assert sum(turn["inserted"] for turn in watched_run.done) == 4
    # Each epoch is drawn once: not when its page comes, and again when the slider moves there.
    for name in "ab":  # the first epoch besides: where a layer opens, it is drawn, and again with its pixels
        assert watched_run.drawn[f"{name} iGTT masks"] <= EPOCHS + 2
        assert watched_run.drawn[f"{name} probability"] <= EPOCHS + 1
    # Qt paints in turns of its own: a bar that paints at once draws all that waits, and napari's canvas with it.
    assert watched_run.most("painted") == 0
    # Steps of training come in bundles, however many there were since the last delivery.
    assert watched_run.most("batches") <= 1
    assert sum(watched_run.batches) == EPOCHS * 3


def test_no_turn_takes_much_more_than_a_move_of_the_slider(watched_run):
    """napari slices all visible layers then, as it does when the user moves it: the measure of what is smooth.

    Functions called are counted, on this machine with this napari, in both. All layers of an epoch in one turn would
    call twice as many.
    """
    counted = list(zip(watched_run.done, watched_run.calls, strict=True))
    move = watched_run.calls_of(watched_run.viewer.dims.set_point, 0, 2)
    epochs = [n for turn, n in counted if not turn["inserted"]]
    first = max(epochs)
    epochs.remove(first)  # with the second epoch napari shows its slider, once
    assert move / 2 < max(epochs) < 1.5 * move
    assert first < 4 * move
    # napari's heaviest is a new layer: the run waits meanwhile, and no turn holds two
    opening = sorted(n for turn, n in counted if turn["inserted"])
    assert opening[-1] < 2 * opening[0]


# ---- nothing slow is called in the main thread --------------------------------------------------------------


@contextmanager
def main_thread_calls() -> Iterator[set[str]]:
    """Functions of the engine that the main thread calls meanwhile."""
    found: set[str] = set()
    assert threading.current_thread() is threading.main_thread()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            ours, name = module.removeprefix("napari_metastructure."), frame.f_code.co_name
            computes = f"{ours}.".startswith(tuple(f"{name}." for name in COMPUTING)) and ours not in COUNTING
            if ours != module and computes:
                found.add(f"{ours}.{name}")
            elif module == "torch.nn.modules.module" and name == "_call_impl":
                found.add("a network")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


@pytest.fixture
def engine_calls(qtbot) -> Callable[..., set[str]]:
    """Runs a widget to its end; the functions of the engine that were called in the main thread once it had begun."""

    def go(widget) -> set[str]:
        assert widget.start()  # it may check pixels that are in memory
        with main_thread_calls() as found:
            qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
        assert widget.failure is None
        return found

    return go


def test_igtt_computes_in_its_thread(open_widget, blobs, engine_calls, tmp_path):
    _viewer, widget = open_widget(blobs(0), blobs(1))
    widget.results.probability.setChecked(True)
    widget.results.labels.setChecked(True)
    widget.folder.set(tmp_path / "run")
    assert engine_calls(widget) == set()


def test_training_computes_in_its_thread(open_train, labelled, engine_calls, tmp_path):
    _viewer, widget = open_train(*(labelled(seed) for seed in range(3)))
    widget.folder.set(tmp_path / "run")
    assert engine_calls(widget) == set()


def test_a_study_computes_in_its_thread(open_study, engine_calls, tmp_path):
    _viewer, widget = open_study()
    widget.folder.set(tmp_path / "study")
    found = engine_calls(widget)
    # the verdict on a condition is about a matrix with a row for each class
    assert {name.rpartition(".")[0] for name in found} <= {"labels.recipes", "labels.transition"}


def test_a_comparison_computes_in_its_thread(open_compare, engine_calls):
    _viewer, widget = open_compare(methods=("otsu", "igtt"), repeats=1, rounds=1)
    found = engine_calls(widget)
    # means over runs, of a number for each image
    assert {name for name in found if not name.startswith("baselines.results.")} <= {
        "baselines.compare.runs_of",
        "baselines.compare.<listcomp>",
    }


def test_what_the_main_thread_calls_is_found():
    from napari_metastructure.images.intensity import channels_of

    with main_thread_calls() as found:
        channels_of("zscore", 1)
    assert found == {"images.intensity.channels_of"}
