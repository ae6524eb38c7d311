"""Choice of the conditions of a noise study: those of the paper by figure, and free ones."""

from collections.abc import Iterable, Sequence

import napari
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import Recipe
from napari_metastructure.plugin._form import collapsed, tooltip, with_tip
from napari_metastructure.plugin._inputs import column, row
from napari_metastructure.plugin._recipe_form import RecipeForm
from napari_metastructure.plugin._study_results import condition_colors, on_dark
from napari_metastructure.plugin._tables import patch
from napari_metastructure.training.study_results import CONDITIONS, STUDIES, Condition

ROLE = QtCore.Qt.ItemDataRole.UserRole

CHECKED, UNCHECKED = QtCore.Qt.CheckState.Checked, QtCore.Qt.CheckState.Unchecked

MOST_ROWS = 7
"""The list shows this many conditions and scrolls beyond."""

OWN = "own choice"

FIRST = "figure 1"
"""Whose conditions are ticked at first."""

TIP = "The kinds of training labels to compare: CL, RCL, PCL and RL."


class ConditionsPanel(QtWidgets.QWidget):
    """A list of conditions to tick, by hand or by a figure of the paper; free ones are added below it.

    Signals
    -------
    refused : str
        Why a free condition could not be added.
    """

    refused = QtCore.Signal(str)
    changed = QtCore.Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.preset = with_tip(QtWidgets.QComboBox(), "Tick the conditions of a figure of the paper, or all of them.")
        for name in STUDIES:
            self.preset.addItem(f"{name} of the paper" if name.startswith("figure") else "all conditions", name)
        self.preset.addItem(OWN, OWN)
        self.list = with_tip(QtWidgets.QListWidget(), TIP)
        self.name = QtWidgets.QLineEdit()
        self.name.setPlaceholderText("name")
        self.name.setToolTip(tooltip("The name of the condition in curves, table and layers."))
        self.add_button = with_tip(QtWidgets.QPushButton("Add"), "Add the noise below to the list, under this name.")
        self.remove_button = with_tip(
            QtWidgets.QPushButton("Remove"), "Remove the selected condition from the list, if it is one of yours."
        )
        self._form: RecipeForm | None = None
        self._own = column(row(self.name, self.add_button, self.remove_button))
        self.free = collapsed("A condition of your own", self._own, "Labels with noise of your choice.")
        self.free.toggled.connect(lambda on: on and self.form)
        column(self.preset, self.list, self.free, into=self)
        for condition in CONDITIONS.values():
            self._append(condition, False)
        self.preset.activated.connect(lambda _: self._on_preset())
        self.list.itemChanged.connect(lambda _: self._show_preset())
        self.list.currentItemChanged.connect(lambda *_: self._offer_to_remove())
        self.add_button.clicked.connect(self._on_add)
        self.remove_button.clicked.connect(self._on_remove)
        self.name.returnPressed.connect(self._on_add)
        self.choose(CONDITIONS[name] for name in STUDIES[FIRST])
        self.use_theme()
        self._offer_to_remove()
        self.list.setFixedHeight(MOST_ROWS * max(self.list.sizeHintForRow(0), 18) + 6)

    @property
    def form(self) -> RecipeForm:
        """Dials of a free condition; made when they are first needed."""
        if self._form is None:
            from napari_metastructure.plugin._recipe_form import RecipeForm

            self._form = RecipeForm()
            self._form.offer((0, 1))
            self._own.layout().addWidget(self._form)
        return self._form

    def conditions(self) -> tuple[Condition, ...]:
        """Return the ticked conditions, in the order of the list."""
        return tuple(item.data(ROLE) for item in self._items() if item.checkState() == CHECKED)

    def choose(self, conditions: Iterable[Condition]) -> None:
        """Tick these and no others; free ones are put into the list, in place of others of their names."""
        wanted = {condition.name: condition for condition in conditions}
        with QtCore.QSignalBlocker(self.list):
            for item in self._items():
                condition = wanted.pop(item.data(ROLE).name, None)
                if condition is not None:
                    item.setData(ROLE, condition)
                item.setCheckState(UNCHECKED if condition is None else CHECKED)
        for condition in wanted.values():
            self._append(condition, True)
        self._show_preset()

    def add(self, name: str, recipe: Recipe) -> Condition:
        """Put a free condition into the list, ticked.

        Raises
        ------
        InputError
            If it has no name, or one that is taken.
        """
        name = name.strip()
        if not name:
            raise InputError("The condition has no name; give it one, for curves and table.")
        if any(item.data(ROLE).name.casefold() == name.casefold() for item in self._items()):
            raise InputError(f"There is a condition called {name!r} already; choose another name.")
        condition = Condition(name=name, recipe=recipe)
        self._append(condition, True)
        self._show_preset()
        return condition

    def use_theme(self) -> None:
        """Show every condition in its colour, which depends on the viewer's background."""
        colors = condition_colors([item.data(ROLE) for item in self._items()], on_dark(self.viewer))
        with QtCore.QSignalBlocker(self.list):
            for item in self._items():
                item.setIcon(patch(colors[item.data(ROLE).name]))

    def _items(self) -> Sequence[QtWidgets.QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]

    def _append(self, condition: Condition, on: bool) -> None:
        with QtCore.QSignalBlocker(self.list):
            item = QtWidgets.QListWidgetItem(condition.name, self.list)
            item.setData(ROLE, condition)
            item.setFlags(item.flags() | QtCore.Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(CHECKED if on else UNCHECKED)
            item.setToolTip(tooltip(describe(condition)))
        self.use_theme()

    def _on_preset(self) -> None:
        if (name := self.preset.currentData()) != OWN:
            self.choose(CONDITIONS[condition] for condition in STUDIES[name])

    def _show_preset(self) -> None:
        """Show whose conditions are ticked: a figure's, or the user's own choice."""
        ticked = list(self.conditions())
        names = (name for name, own in STUDIES.items() if [CONDITIONS[c] for c in own] == ticked)
        self.preset.setCurrentIndex(self.preset.findData(next(names, OWN)))
        self.changed.emit()

    def _on_add(self) -> None:
        try:
            self.add(self.name.text(), self.form.recipe())  # type: ignore[arg-type] # every recipe there is
        except InputError as error:
            self.refused.emit(str(error))
            return
        self.name.clear()
        self.list.scrollToBottom()

    def _on_remove(self) -> None:
        item = self.list.currentItem()
        if item is not None and item.data(ROLE).name not in CONDITIONS:
            self.list.takeItem(self.list.row(item))
            self.use_theme()
            self._show_preset()

    def _offer_to_remove(self) -> None:
        item = self.list.currentItem()
        self.remove_button.setEnabled(item is not None and item.data(ROLE).name not in CONDITIONS)


def describe(condition: Condition) -> str:
    """Say in a few words what is done to the labels."""
    if condition.recipe is None:
        return "the clean labels"
    dials = condition.recipe.model_dump(exclude={"kind"}, exclude_none=True)
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in dials.items())
    return f"{condition.recipe.title}{f' ({numbers})' if numbers else ''}"
