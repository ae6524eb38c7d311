"""The dials of one recipe, drawn from the fields of its model."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_metastructure.labels.recipes import RecipeBase, make_recipe
from napari_metastructure.plugin.form import ModelForm, title, tooltip
from napari_metastructure.plugin.noise.class_table import ClassTable
from napari_metastructure.plugin.noise.dial_editors import NAMES, dial_editor, is_share, refitted

BY_CLASS, MATRIX = "per_class", "matrix"


class Dials(QWidget):
    """Editors for one kind of recipe; ``changed`` tells that one was turned.

    Numbers by class follow the classes of the source (`offer`) as long as nobody set them by `fill`.
    """

    changed = Signal()

    def __init__(self, model: type[RecipeBase], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self.kind = str(model.model_fields["kind"].default)
        self.table: ClassTable | None = None
        self.by_class: QCheckBox | None = None
        self._classes: tuple[int, ...] = ()
        self._given = self._touched = False
        fields = model.model_fields
        plain = [name for name in fields if name not in ("kind", BY_CLASS, MATRIX)]
        self._share = next((name for name in plain if is_share(fields[name])), None)
        self.form = ModelForm(model, plain, {name: dial_editor(name, fields[name]) for name in plain})
        for name, text in NAMES.items():
            if name in self.form.editors:
                self.form.layout().labelForField(self.form.editors[name].widget).setText(text)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.form)
        self.form.setVisible(bool(plain))
        self.fit = QPushButton("Fit to the classes")
        self.fit.setToolTip(tooltip("Give the table a row for each class of the source, and no other."))
        self.fit.setVisible(False)
        for name in (BY_CLASS, MATRIX):
            if name in fields:
                self._add_table(name, layout)
        self.form.changed.connect(lambda _: self.changed.emit())
        self.fit.clicked.connect(lambda: self._refit())
        self.fill(make_recipe(self.kind))
        self._given = self._touched = False

    def recipe(self) -> RecipeBase:
        """What the dials say.

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
        with QSignalBlocker(self):
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
        """Say which classes the source has; True if that changed the recipe."""
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
        self._refit(tell=False)
        return True

    def let_go(self) -> None:
        """Numbers that were set by `fill` may be changed to suit the classes of another source."""
        self._given = False

    def _add_table(self, name: str, layout: QVBoxLayout) -> None:
        field = self.model.model_fields[name]
        self.table = ClassTable(field.description or "", square=name == MATRIX)
        if name == BY_CLASS:
            self.by_class = QCheckBox(title(name, field))
            self.by_class.setToolTip(tooltip(field.description))
            self.by_class.toggled.connect(self._on_by_class)
            self.table.setVisible(False)
            layout.addWidget(self.by_class)
        layout.addWidget(self.table)
        row = QHBoxLayout()
        row.addWidget(self.fit)
        layout.addLayout(row)
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
            self._refit(tell=False)
        self._offer_to_fit()
        self.changed.emit()

    def _refit(self, tell: bool = True) -> None:
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
        if tell:
            self.changed.emit()

    def _usual(self, label: int) -> float:
        """What a class gets that had no number yet: the dial for all, or, where they add up to 1, an equal part."""
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
