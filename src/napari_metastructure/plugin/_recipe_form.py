"""Form for a recipe of label noise: the recipe and its dials, with numbers by class that follow the source."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic.fields import FieldInfo
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import title_of
from napari_metastructure.labels.recipes import RECIPES, RecipeBase, make_recipe
from napari_metastructure.plugin import _form
from napari_metastructure.plugin._form import with_tip
from napari_metastructure.plugin._inputs import column
from napari_metastructure.plugin._tables import ClassTable

PIXEL_DECIMALS = 2

STAYS = 0.6
"""Share of each class that keeps its label, in a noise transition matrix that has not been edited yet."""


def is_share(field: FieldInfo) -> bool:
    """Say whether a field is a probability or a fraction."""
    low, high = _form.bounds(field)
    return field.annotation is float and low is not None and high is not None and 0 <= low < high <= 1


def refitted(before: tuple[int, ...], matrix: Any, classes: tuple[int, ...]) -> np.ndarray:
    """Fit a noise transition matrix to other classes: what went to a class that is gone stays where it was.

    Parameters
    ----------
    before, classes : tuple of int
        The classes of ``matrix``, and of the result.
    matrix : (M, M) array-like

    Returns
    -------
    (N, N) float64 array
    """
    size = len(classes)
    spread = (1 - STAYS) / max(size - 1, 1)
    result = np.full((size, size), spread)
    np.fill_diagonal(result, 1 - spread * (size - 1))
    known = [c for c in classes if c in before]
    if len(known) > 1:
        old, new = [before.index(c) for c in known], [classes.index(c) for c in known]
        result[new] = 0
        result[np.ix_(new, new)] = np.asarray(matrix, float)[np.ix_(old, old)]
        result[new, new] += np.asarray(matrix, float)[old].sum(axis=1) - result[new].sum(axis=1)
    return result


def dial_editor(field: FieldInfo) -> _form.Editor:
    """Make a slider for a share, a number with its unit for pixels, else what suits the type."""
    low, high = _form.bounds(field)
    if is_share(field) and low is not None and high is not None:
        return _form.slider_editor(low, high)
    if field.annotation is float:
        least, most = max(low or 0, 10**-PIXEL_DECIMALS if low else 0), high if high is not None else 1e6
        box = _form.RealSpinBox(least, most, decimals=PIXEL_DECIMALS)
        box.setStepType(box.StepType.DefaultStepType)
        box.setSingleStep(0.5)
        box.setSuffix(" px")
        return _form.rounding_editor(box, PIXEL_DECIMALS)
    return _form.make_editor(field)


BY_CLASS, MATRIX = "per_class", "matrix"


class Dials(QtWidgets.QWidget):
    """Editors for one kind of recipe; ``changed`` says that one was turned.

    Numbers by class follow the classes of the source (`offer`) unless they were set by `fill`.
    """

    changed = QtCore.Signal()

    def __init__(self, model: type[RecipeBase]) -> None:
        super().__init__()
        self.model = model
        self.kind = str(model.model_fields["kind"].default)
        self.table: ClassTable | None = None
        self.by_class: QtWidgets.QCheckBox | None = None
        self._classes: tuple[int, ...] = ()
        self._given = self._touched = False
        fields = model.model_fields
        plain = [name for name in fields if name not in ("kind", BY_CLASS, MATRIX)]
        self._share = next((name for name in plain if is_share(fields[name])), None)
        self.form = _form.ModelForm(model, plain, {name: dial_editor(fields[name]) for name in plain})
        self.form.setVisible(bool(plain))
        column(self.form, into=self)
        self.fit = with_tip(
            QtWidgets.QPushButton("Fit to the classes"),
            "Give the table a row for each class of the source, and no other.",
        )
        self.fit.setVisible(False)
        for name in (BY_CLASS, MATRIX):
            if name in fields:
                self._add_table(name)
        self.form.changed.connect(lambda _: self.changed.emit())
        self.fit.clicked.connect(lambda: self._refit())
        self.fill(make_recipe(self.kind))
        self._given = self._touched = False

    def recipe(self) -> RecipeBase:
        """Return the recipe that the dials show.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the dial.
        """
        values: dict[str, Any] = self.form.values()
        if self.table is not None:
            if self.by_class is None:
                values[MATRIX] = self.table.matrix()
            else:
                values[BY_CLASS] = self.table.values() if self.by_class.isChecked() else None
        return make_recipe(self.kind, **values)

    def fill(self, recipe: RecipeBase) -> None:
        """Show a recipe; its numbers by class stay as they are until they are edited."""
        values = {name: getattr(recipe, name) for name in self.model.model_fields}
        with QtCore.QSignalBlocker(self):
            self.form.fill(values)
            if self.by_class is not None and self.table is not None:
                self._given = values[BY_CLASS] is not None
                self.by_class.setChecked(self._given)
                if self._given:
                    self.table.show_values(values[BY_CLASS])
            elif self.table is not None:
                self._given = self._touched = True
                self.table.show_matrix(self._classes, values[MATRIX])
            self._offer_to_fit()

    def offer(self, classes: tuple[int, ...]) -> bool:
        """Take over which classes the source has; return whether that changed the recipe."""
        self._classes = classes
        table = self.table
        if table is None:
            return False
        if self._given and self.by_class is None and len(classes) == len(table.classes):
            table.show_matrix(classes, table.matrix())  # its rows now have names
        stays = self._given or table.classes == classes or (self.by_class is not None and not self.by_class.isChecked())
        if stays:
            self._offer_to_fit()
            return False
        self._refit(by_user=False)
        return True

    def let_go(self) -> None:
        """Allow numbers that were set by `fill` to change with the classes of another source."""
        self._given = False

    def _add_table(self, name: str) -> None:
        field = self.model.model_fields[name]
        self.table = ClassTable(field.description or "", square=name == MATRIX)
        if name == BY_CLASS:
            self.by_class = with_tip(QtWidgets.QCheckBox(title_of(name, field)), field.description)
            self.by_class.toggled.connect(self._on_by_class)
            self.table.setVisible(False)
            self.layout().addWidget(self.by_class)
        self.layout().addWidget(self.table)
        self.layout().addWidget(self.fit)
        self.table.changed.connect(self._on_table)

    def _on_table(self) -> None:
        self._touched = True
        self.changed.emit()

    def _on_by_class(self, on: bool) -> None:
        assert self.table is not None
        self.table.setVisible(on)
        if self._share is not None:
            self.form.editors[self._share].widget.setEnabled(not on)
        if on and not self.signalsBlocked():
            self._refit(by_user=False)
        self._offer_to_fit()
        self.changed.emit()

    def _refit(self, by_user: bool = True) -> None:
        """Give the table a row per class; what is known of a class stays."""
        assert self.table is not None
        self._given = False
        if self.by_class is None:
            before = self.table.classes if self._touched else ()
            self.table.show_matrix(self._classes, refitted(before, self.table.matrix(), self._classes))
        else:
            known = self.table.values() if self.table.classes else {}
            if self.kind == "random" and tuple(known) != self._classes:
                known = {}  # they have to add up to 1
            self.table.show_values({c: known.get(c, self._usual(c)) for c in self._classes})
        self._offer_to_fit()
        if by_user:
            self.changed.emit()

    def _usual(self, label: int) -> float:
        """Return the number of a class that had none: the dial for all, or, where they add up to 1, an equal part."""
        share = float(self.form.editors[self._share].get()) if self._share else 0.5
        if self.kind != "random":
            return share
        if len(self._classes) == 2:
            return round(share if label == self._classes[1] else 1 - share, 6)
        return 1 / len(self._classes)

    def _offer_to_fit(self) -> None:
        shown = self.table is not None and (self.by_class is None or self.by_class.isChecked())
        other = self.table is not None and self.table.classes != self._classes
        self.fit.setVisible(shown and other and bool(self._classes))


FIRST = "flip"
"""The recipe shown first: the paper's main example."""

WITHOUT_SEED = ("dilate", "erode", "skeleton", "open", "close")
"""Recipes that draw nothing at random."""


class RecipeForm(QtWidgets.QWidget):
    """A box of recipes, and the dials of the chosen one; ``changed`` reports any change by hand."""

    changed = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.box = QtWidgets.QComboBox()
        self.box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setToolTip(_form.tooltip("The kind of noise: RCL, PCL or RL."))
        column(self.box, into=self)
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
            self.layout().addWidget(dials)
        self.box.currentIndexChanged.connect(lambda _: self._on_kind())
        with QtCore.QSignalBlocker(self):
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
        """Return the recipe as shown.

        Raises
        ------
        InputError
            If a value cannot be used; the message names it.
        """
        return self.dials[self.kind].recipe()

    def fill(self, recipe: RecipeBase) -> None:
        """Show a recipe."""
        with QtCore.QSignalBlocker(self):
            kind = str(type(recipe).model_fields["kind"].default)
            self.dials[kind].fill(recipe)
            self.box.setCurrentIndex(self.box.findData(kind))

    def offer(self, classes: tuple[int, ...]) -> bool:
        """Take over which classes the source has; return whether that changed the chosen recipe."""
        altered = {kind: dials.offer(classes) for kind, dials in self.dials.items()}
        return altered[self.kind]

    def show_colors(self, colors: Mapping[int, str]) -> None:
        """Show classes in the colours of the source."""
        for dials in self.dials.values():
            if dials.table is not None:
                dials.table.show_colors(colors)

    def let_go(self) -> None:
        """Allow numbers by class that were set by `fill` to change with another source."""
        for dials in self.dials.values():
            dials.let_go()

    def _on_kind(self) -> None:
        for kind, dials in self.dials.items():
            dials.setVisible(kind == self.kind)
        self.changed.emit()
