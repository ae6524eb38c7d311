"""Choose a recipe of label noise and turn its dials."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_metastructure.labels.recipes import RECIPES, RecipeBase
from napari_metastructure.plugin.form import tooltip
from napari_metastructure.plugin.noise.dials import Dials

FIRST = "flip"
"""The recipe shown first: the paper's main example."""

FAMILIES = {
    "RCL": "randomized clean labels: pixels lose or change their label wherever they lie; the structure stays",
    "PCL": "perturbed clean labels: outlines move, objects grow, shrink or thin; the structure changes",
    "RL": "random labels: drawn without a look at the source; no structure",
}


WITHOUT_SEED = ("dilate", "erode", "skeleton", "open", "close")
"""Recipes that draw nothing at random."""


class RecipeForm(QWidget):
    """A box of recipes, and the dials of the chosen one; ``changed`` tells of any change by hand."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = QComboBox()
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setToolTip(tooltip("<br>".join(f"<b>{name}</b>, {what}." for name, what in FAMILIES.items())))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.box)
        self.dials: dict[str, Dials] = {}
        family = ""
        for kind, model in RECIPES.items():
            if family and model.family != family:
                self.box.insertSeparator(self.box.count())
            family = model.family
            self.box.addItem(model.title, kind)
            dials = self.dials[kind] = Dials(model)
            dials.setVisible(False)
            dials.changed.connect(self.changed)
            layout.addWidget(dials)
        self.box.currentIndexChanged.connect(lambda _: self._on_kind())
        with QSignalBlocker(self):
            self.box.setCurrentIndex(self.box.findData(FIRST))
            self._on_kind()

    @property
    def kind(self) -> str:
        """The chosen kind of recipe."""
        return str(self.box.currentData())

    @property
    def random(self) -> bool:
        """Whether the seed makes a difference."""
        return self.kind not in WITHOUT_SEED

    def recipe(self) -> RecipeBase:
        """The recipe as shown.

        Raises
        ------
        InputError
            If a value cannot be used; the message names it.
        """
        return self.dials[self.kind].recipe()

    def fill(self, recipe: RecipeBase) -> None:
        """Show a recipe."""
        with QSignalBlocker(self):
            kind = str(type(recipe).model_fields["kind"].default)
            self.dials[kind].fill(recipe)
            self.box.setCurrentIndex(self.box.findData(kind))

    def offer(self, classes: tuple[int, ...]) -> bool:
        """Say which classes the source has; True if that changed the recipe in sight."""
        altered = {kind: dials.offer(classes) for kind, dials in self.dials.items()}
        return altered[self.kind]

    def let_go(self) -> None:
        """Numbers by class that were set by `fill` may be changed to suit another source."""
        for dials in self.dials.values():
            dials.let_go()

    def _on_kind(self) -> None:
        for kind, dials in self.dials.items():
            dials.setVisible(kind == self.kind)
        self.changed.emit()
