"""Lines in which planes, frames and the colour of images are chosen before a run."""

from collections.abc import Sequence
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QWidget

from napari_metastructure.images.ranges import PARTS, Chosen
from napari_metastructure.plugin._form import choice_editor, form_layout, tooltip
from napari_metastructure.plugin._inputs import row
from napari_metastructure.plugin._layers import full

AXES = {"planes": -3, "frames": -4}
"""Axes of a layer, without the samples of RGB, counted from the last."""

KNOWN = {"z": "Planes", "t": "Frames", "time": "Frames", "c": "Channels", "channel": "Channels"}
"""What axes of these labels hold."""

COLOURS = {"": "automatic", "red": "red", "green": "green", "blue": "blue", "luminance": "luminance"}


class RangeRows(QWidget):
    """A line for planes and one for frames, where there are any, and for images in colour which channel is taken.

    Parameters
    ----------
    verb : str
        What is done with the planes, for the tooltips: "segmented".
    colours : bool
        Whether the channel is chosen here.
    """

    changed = Signal()

    def __init__(self, verb: str, colours: bool = False) -> None:
        super().__init__()
        self.lines = {name: QLineEdit() for name in AXES}
        self.counts = {name: QLabel() for name in AXES}
        self.colour = choice_editor(COLOURS) if colours else None
        self._rows: dict[str, tuple[QLabel, QWidget]] = {}
        tip = f"Those that are {verb}; the others stay empty in the result, which has the size of its image. {PARTS}"
        for name, line in self.lines.items():
            line.setPlaceholderText("all")
            line.textChanged.connect(lambda _: self.changed.emit())
            self._rows[name] = QLabel(name.capitalize()), row(line, self.counts[name])
            for part in (self._rows[name][0], line):
                part.setToolTip(tooltip(tip))
        if self.colour is not None:
            self._rows["channel"] = QLabel("Colour"), self.colour.widget
            for part in self._rows["channel"]:
                part.setToolTip(tooltip("The channel of colour images; automatic takes the one of most contrast."))
            self.colour.changed.connect(lambda _: self.changed.emit())
        form_layout(*self._rows.values(), into=self)
        self.show_layers(())

    def get(self) -> Chosen:
        """Return what is chosen; lines that are not shown choose nothing.

        Raises
        ------
        InputError
            For text that names no numbers.
        """
        shown = {name: not field.isHidden() for name, (_, field) in self._rows.items()}
        said = {name: line.text() for name, line in self.lines.items() if shown[name]}
        channel = self.colour.get() if self.colour is not None and shown["channel"] else ""
        return Chosen(**said, channel=channel)

    def set(self, chosen: Chosen) -> None:
        """Show a choice."""
        with QSignalBlocker(self):
            for name, line in self.lines.items():
                line.setText(getattr(chosen, name))
            if self.colour is not None:
                self.colour.set(chosen.channel)
        self.changed.emit()

    def show_layers(self, layers: Sequence[Layer] | None) -> None:
        """Offer what these layers have; of files (None), whose planes are not known yet, planes and frames."""
        for name, axis in AXES.items():
            having = [layer for layer in layers or () if _size(layer, axis)]
            sizes = sorted({_size(layer, axis) for layer in having})
            self._show(name, layers is None or sizes[-1:] > [1])
            words = {KNOWN.get(str(layer.axis_labels[axis]).lower(), "") for layer in having}
            self._rows[name][0].setText(words.pop() if len(words) == 1 and "" not in words else name.capitalize())
            self.counts[name].setText(f"of {' to '.join(map(str, sizes[:1] + sizes[1:][-1:]))}" if sizes else "")
        if self.colour is not None:
            self._show("channel", any(layer.rgb for layer in layers or ()))
        self.setVisible(any(not field.isHidden() for _, field in self._rows.values()))

    def _show(self, name: str, shown: bool) -> None:
        for part in self._rows[name]:
            part.setVisible(shown)


def _size(layer: Any, axis: int) -> int:
    """Return the length of a layer along an axis; 0 if it has none."""
    shape = full(layer).shape[: -1 if layer.rgb else None]
    return int(shape[axis]) if len(shape) >= -axis else 0
