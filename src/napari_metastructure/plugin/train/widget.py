"""The Train widget: networks trained on images and labels, clean or noisy, watched and steered live."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_metastructure.errors import MetastructureError
from napari_metastructure.plugin.train.begin import TrainBegin

ENDING = ".safetensors"
PLUGIN, PREDICT = "napari-metastructure", "Predict (apply a saved model)"


class TrainWidget(TrainBegin):
    """Train a network on images and their labels.

    The buttons call `start`, `pause`, `resume`, `stop`, `resume_run`, `load_run_settings`, `save_model` and
    `use_in_predict`; scripts may do the same. None of them raises: what is wrong is said in one sentence by a napari
    notification, and the method returns False (or None).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each run that began, however it ended.
    result : TrainFinished or None
        How the last run ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last run failed.
    model : Model or None
        The network of the best epoch of the last run, also of one that failed later.
    saved : Path or None
        Where that network was saved.
    data : DataPanel
        What is trained on.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.save_button.clicked.connect(self._ask_where)
        self.use_button.clicked.connect(lambda: self.use_in_predict())

    def save_model(self, path: str | Path) -> Path | None:
        """Write the network of the best epoch, with all that predicting takes; None if something is wrong.

        Parameters
        ----------
        path : path
            The file; ``.safetensors`` is added where it is missing.
        """
        if self.running or self.model is None:
            show_warning("There is no model yet; run first." if not self.running else "The run still goes on.")
            return None
        from napari_metastructure.networks.checkpoint import save_model

        path = Path(path)
        path = path if path.suffix == ENDING else path.with_name(path.name + ENDING)
        try:
            self.saved = save_model(path, self.model.network, self.model.spec, self.model.use)
        except (MetastructureError, OSError, ValueError) as error:
            show_error(str(error))
            return None
        return self.saved

    def use_in_predict(self) -> bool:
        """Open the Predict widget on the model's file; False if it is in none yet."""
        folder = self.folder.get()
        kept = folder / f"model{ENDING}" if folder is not None and self.model is not None else None
        path = self.saved or (kept if kept is not None and kept.is_file() else None)
        if path is None:
            show_warning("The model is in no file yet; save it first.")
            return False
        _, predict = self.viewer.window.add_plugin_dock_widget(PLUGIN, PREDICT)
        return bool(predict.choose_model(path))

    def _ask_where(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save model", f"model{ENDING}", f"Model (*{ENDING})")
        if name and (path := self.save_model(name)):
            self.progress.say(f"Saved {path.name}.")
