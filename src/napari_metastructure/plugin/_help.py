"""The buttons at the top of each widget: one puts its values back, one opens its page of the documentation."""

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._inputs import row

DOCUMENTATION = "https://napari-metastructure.github.io/napari-metastructure/"
"""As in ``pyproject.toml``."""

WIDGETS = ("igtt", "train", "predict", "noise", "density", "measure", "study", "compare")

PAGES = {name: f"widgets/{name}" for name in WIDGETS}
"""Of each widget, below `DOCUMENTATION`; its text is the file of that name in ``docs``."""


class Tools(QWidget):
    """The buttons at the top of a widget.

    Parameters
    ----------
    name : str
        The widget's, one of `PAGES`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.address = f"{DOCUMENTATION}{PAGES[name]}/"
        self.reset_button, self.help_button = QPushButton("Reset"), QPushButton("?")
        self.reset_button.setToolTip(
            tooltip(
                "Put back what this widget opens with: the device, seed and preset of napari's preferences "
                "(File > Preferences > Meta-structure), and the defaults of all else."
            )
        )
        self.help_button.setAccessibleName("Help")
        self.help_button.setToolTip(tooltip("Help: open this widget's page of the documentation, in the browser."))
        row(self.reset_button, self.help_button, into=self)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.help_button.clicked.connect(lambda: QDesktopServices.openUrl(QUrl(self.address)))
