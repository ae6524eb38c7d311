"""The methods there are, to be ticked."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Method
from napari_metastructure.plugin.form import tooltip

COLUMNS = 2


class MethodBoxes(QWidget):
    """A check box per method; those that learn from ground truth can be ticked once there is some."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes = {name: QCheckBox(method.title) for name, method in METHODS.items()}
        self._wanted: set[str] = set()  # ticked, and to be ticked again as soon as there is ground truth
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for place, box in enumerate(self.boxes.values()):
            grid.addWidget(box, place // COLUMNS, place % COLUMNS)
        self.choose(CompareConfig().methods)
        self.set_labelled(False)

    def chosen(self) -> tuple[str, ...]:
        """The ticked methods, in the order of `METHODS`."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def choose(self, names: Iterable[str]) -> None:
        """Tick these methods and no others, as far as they can be."""
        names = set(names)
        self._wanted = {name for name in names if METHODS[name].needs_masks}
        for name, box in self.boxes.items():
            box.setChecked(name in names and box.isEnabled())

    def set_labelled(self, labelled: bool) -> None:
        """Whether there is ground truth to learn from."""
        for name, box in self.boxes.items():
            method = METHODS[name]
            box.setToolTip(tooltip(_describe(method, labelled)))
            if not method.needs_masks or box.isEnabledTo(self) == labelled:
                continue
            if not labelled:
                self._wanted = self._wanted - {name} | ({name} if box.isChecked() else set())
            box.setEnabled(labelled)
            box.setChecked(labelled and name in self._wanted)


def _describe(method: Method, labelled: bool) -> str:
    if not method.needs_masks:
        return (
            "Needs no ground truth. It depends on a seed and runs as often as Repeats says."
            if method.random
            else "Needs no ground truth, nor training; it depends on no seed and runs once."
        )
    why = "" if labelled else "<b>Choose ground truth above to be able to tick it.</b> "
    return (
        f"{why}Trained on the ground truth of one half of the images, it segments the other half, and the other way "
        "round: two images or more are needed. The slices of a stack count as one."
    )
