"""Training data and settings of Train, Study and Compare: layers or a folder, how they are read, the training form."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import napari
from qtpy import QtCore, QtWidgets
from superqt.utils import QSignalDebouncer

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._form import ConfigPanel, choice_editor, form_layout, tooltip, with_tip
from napari_metastructure.plugin._inputs import PathEdit, column, reading_editor, row
from napari_metastructure.plugin._layers import READING_TIP
from napari_metastructure.plugin._pairs import LUMINANCE, LayerSet, PairsTable, set_of_rows, to_convert
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin._worker import LatestOnly
from napari_metastructure.training.config import PRESETS, TrainConfig
from napari_metastructure.training.pairs import VERBS, Pair, Purpose, TrainingSet

FIRST = ""
"""Watch the first image there is to validate on."""

CHANNELS = {
    LUMINANCE: "luminance",
    "all": "all, each an input of the network",
    "red": "red",
    "green": "green",
    "blue": "blue",
}


# ---- a folder with a training set: typed or browsed for, looked through in the background ----------------


PATIENCE_MS = 300
"""Time after a key before the folder is looked through."""


class FolderChoice(PathEdit):
    """A line and a dialog for a folder; ``looked`` is emitted when `found` or `problem` changed.

    Parameters
    ----------
    purpose : {"validation", "test"}
        Which split is not trained on.

    Attributes
    ----------
    found : TrainingSet or None
        What is in the folder, once that is known.
    problem : str
        Why the folder cannot be used.
    """

    looked = QtCore.Signal()

    def __init__(self, purpose: Purpose) -> None:
        splits = "train/ and val/ (and test/)" if purpose == "validation" else "train/ and test/"
        super().__init__(
            "folder with images and labels",
            f"A folder with images/ and labels/ (or masks/), files paired by name; or with {splits} "
            "with those two in each; or a Cityscapes tree (leftImg8bit/, gtFine/).",
        )
        self.found: TrainingSet | None = None
        self.problem = ""
        self._purpose, self._channel = purpose, LUMINANCE
        self._latest = LatestOnly(self)
        self._latest.done.connect(self._on_found)
        self._latest.failed.connect(self._on_failed)
        self._wait = QSignalDebouncer(parent=self)
        self._wait.setTimeout(PATIENCE_MS)
        self._wait.triggered.connect(self._look)
        self.changed.connect(self.look)

    def read_channel(self, channel: str) -> None:
        """Take this channel of colour images."""
        if channel != self._channel:
            self._channel = channel
            self.look()

    @property
    def looking(self) -> bool:
        """Whether what is in the folder is not known yet."""
        return self.get() is not None and self.found is None and not self.problem

    def look(self) -> None:
        """Look through the folder, a moment after the last key."""
        self.found, self.problem = None, ""
        self._latest.drop()
        self._wait.throttle()
        self.looked.emit()

    def finder(self) -> Callable[[], TrainingSet]:
        """Return what finds the set in the folder, in any thread.

        Raises
        ------
        InputError
            If no folder is named.
        """
        from napari_metastructure.training.folders import training_set

        if (folder := self.get()) is None:
            raise InputError("No folder is chosen; name one with images and labels.")
        return partial(training_set, folder, None if self._channel == LUMINANCE else self._channel, self._purpose)

    def _look(self) -> None:
        if self.get() is not None:
            self._latest.ask(self.finder())

    def _on_found(self, found: TrainingSet) -> None:
        self.found = found
        self.looked.emit()

    def _on_failed(self, error: Exception) -> None:
        self.problem = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.looked.emit()


# ---- what to train on, how labels and colours are read, and which image to watch ------------------------


class DataPanel(QtWidgets.QWidget):
    """Layers or a folder; ``changed`` is emitted when the set may be another one.

    Parameters
    ----------
    viewer : napari.Viewer
    purpose : {"validation", "test"}
        What images that are not trained on are for. One to validate on can be watched, and planes be chosen.
    """

    changed = QtCore.Signal()

    def __init__(self, viewer: napari.Viewer, purpose: Purpose = "validation") -> None:
        super().__init__()
        self.purpose = purpose
        self.from_layers, self.from_folder = QtWidgets.QRadioButton("Layers"), QtWidgets.QRadioButton("Folder of files")
        self.from_layers.setChecked(True)
        self.from_layers.setToolTip(tooltip("Train on the images and labels open in the viewer."))
        self.from_folder.setToolTip(
            tooltip("Train on files, read as they are needed: the set may be larger than memory.")
        )
        self.table, self.folder = PairsTable(viewer, purpose), FolderChoice(purpose)
        self.ranges = RangeRows("used to train and to validate")
        self.reading, self.channel, self.watch = reading_editor(), choice_editor(CHANNELS), choice_editor([])
        self.summary = QtWidgets.QLabel()
        self.summary.setWordWrap(True)
        self.summary.setToolTip(tooltip(f"What Run would train on and {VERBS[purpose]} on."))
        self._lay_out()
        self._show_watched([])
        self._switch()
        self.from_layers.toggled.connect(lambda _: self._switch())
        self.channel.changed.connect(lambda _: self.folder.read_channel(self.channel.get()))
        for signal in (self.table.changed, self.folder.looked, self.channel.changed, self.ranges.changed):
            signal.connect(lambda *_: self.changed.emit())

    def given(self) -> TrainingSet | None:
        """Return the set chosen; None for a folder that is still being looked through.

        Raises
        ------
        InputError
            If it cannot be used.
        """
        if self.from_layers.isChecked():
            try:
                return set_of_rows(self.table.rows, self.channel.get(), self.ranges.get())
            except InputError as error:
                unlabelled = not self.table.rows or any(row.labels is None for row in self.table.rows)
                more = to_convert(self.table.viewer.layers) if unlabelled else ""
                raise InputError(f"{error} {more}".rstrip()) from None
        self.folder.finder()  # raises where none is named
        if self.folder.problem:
            raise InputError(self.folder.problem)
        return self.folder.found

    def reader(self, given: TrainingSet | None) -> Callable[[], TrainingSet]:
        """Return what makes the set in any thread: it looks through the folder where `given` returned None."""
        return self.folder.finder() if given is None else lambda: given

    def use_folder(self, folder: Path | str) -> None:
        """Take the files in a folder."""
        self.from_folder.setChecked(True)
        self.folder.set(folder)

    def show_set(self, config: TrainConfig | None) -> None:
        """Say what a run with these settings would train on, and offer its validation images to be watched.

        Parameters
        ----------
        config : TrainConfig or None
            Its seed and validation fraction count. None where they cannot be read yet.
        """
        images = [row.image for row in self.table.rows if row.image is not None]
        asked = self.from_layers.isChecked() and self.purpose == "validation"
        self.ranges.show_layers(images if asked else ())
        held: list[Pair] = []
        given = None
        try:
            given = self.given()
            if given is None:
                text = "Looking through the folder…"
            elif config is None:
                text = ""
            else:
                text, held = given.in_words(config, self.purpose), given.held(config)[1]
                text = " ".join((text, *given.apart)) if isinstance(given, LayerSet) else text
        except InputError as error:
            text = str(error)
        self.summary.setText(text)
        groups = list(dict.fromkeys(pair.group for pair in held))
        self._show_watched(groups)
        self.table.show_kept(groups if isinstance(given, LayerSet) else ())
        rgb = any(image.rgb for image in images)
        for part in (self.channel_label, self.channel.widget):
            part.setVisible(rgb or self.from_folder.isChecked())

    def release(self) -> None:
        """Let go of the viewer."""
        self.table.release()

    def _show_watched(self, groups: list[str]) -> None:
        box, chosen = self.watch.widget, self.watch.get()
        with QtCore.QSignalBlocker(box):
            empty = not box.count()
            box.clear()
            box.addItem("first image to validate on", FIRST)
            box.addItem("none", None)
            for group in groups:
                box.addItem(group, group)
            # None is found nowhere by findData, and stands second.
            box.setCurrentIndex(0 if empty else 1 if chosen is None else max(0, box.findData(chosen)))

    def _switch(self) -> None:
        layers = self.from_layers.isChecked()
        self.table.setVisible(layers)
        self.folder.setVisible(not layers)
        self.changed.emit()

    def _lay_out(self) -> None:
        kinds, form = row(self.from_layers, self.from_folder), form_layout()
        kinds.layout().addStretch(1)
        for name, editor, tip in (
            ("Labels are", self.reading, READING_TIP),
            ("Colours", self.channel, "The channel used of colour images; grey images have only one."),
            ("Watch", self.watch, "An image to validate on whose prediction is drawn with every epoch."),
        ):
            label = with_tip(QtWidgets.QLabel(name), tip)
            with_tip(editor.widget, tip)
            if editor is not self.watch or self.purpose == "validation":
                form.addRow(label, editor.widget)
            if editor is self.channel:
                self.channel_label = label
        ranges = (self.ranges,) if self.purpose == "validation" else ()
        column(kinds, self.table, self.folder, *ranges, self.summary, form, into=self)


# ---- the settings of a training ---------------------------------------------------------------------------


GROUPS = {
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs"),
    "Training": (
        *("loss", "optimizer", "learning_rate", "schedule"),
        *("steps_per_epoch", "batch_size", "patch_size", "augment"),
    ),
}


class TrainingSettings(ConfigPanel[TrainConfig]):
    """Settings of each training in a study or a comparison.

    Parameters
    ----------
    main : sequence of str
        The settings that are always in view.
    without : sequence of str
        Those that the study or comparison sets itself.
    kept : sequence of str
        Those that stay as they are where a preset does not set them.
    """

    def __init__(self, main: Sequence[str], without: Sequence[str], kept: Sequence[str] = ()) -> None:
        self._kept = kept
        super().__init__(TrainConfig, main, GROUPS, without)

    def of_preset(self, preset: str) -> TrainConfig:
        """Return what choosing a preset fills in."""
        shown = self.main.values()
        return TrainConfig.from_preset(
            preset, **{name: shown[name] for name in self._kept if name not in PRESETS[preset]}
        )
