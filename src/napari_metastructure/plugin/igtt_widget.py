"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_metastructure.errors import MetastructureError
from napari_metastructure.plugin.earlier_run import beside
from napari_metastructure.plugin.igtt_run import IGTTRun
from napari_metastructure.training.control import Control


class IGTTWidget(IGTTRun):
    """Segment image layers without labels.

    The buttons call `start`, `pause`, `resume`, `stop`, `resume_run`, `load_run_settings`, `use_epoch`,
    `continue_from_edits` and `save_mask`; scripts may do the same. None of them raises: what is wrong is said in
    one sentence by a napari notification, and the method returns False (or nothing).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each run that began, however it ended.
    result : Finished or None
        How the last run ended; None while it goes on, or if it failed.
    failure : MetastructureError or None
        Why the last run failed.
    layers : RunLayers or None
        What the last run drew.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.results.use_epoch.connect(lambda: self.use_epoch())
        self.results.continue_from_edits.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.show_extra.connect(self._show_extra)

    def use_epoch(self) -> list[Labels]:
        """Make the epoch on the slider the final mask; the new layers, one per source."""
        if not self._has_masks():
            return []
        assert self.layers is not None
        self._kept = self.layers.keep(self.layers.epoch)
        return self._kept

    def continue_from_edits(self) -> bool:
        """Lock the pixels painted on the masks and train on; False if nothing was painted.

        A run that goes on takes them up at its next relabelling. Otherwise a new run starts from the epoch on the
        slider, in a folder beside that of the run before.
        """
        if not self._has_masks():
            return False
        assert self.layers is not None
        painted = self.layers.corrections()
        if not painted:
            show_warning("Nothing was painted yet; paint or erase on the masks layer, then continue.")
            return False
        if self.running and self.runner.control is not None:
            for index, pixels in painted.items():
                self.runner.control.correct(index, pixels)
            self._locked = self.runner.control.take_corrections()
            self.progress.say(f"{_count(painted)} painted pixels are locked from the next epoch on.")
            return True
        locked = Control()  # earlier corrections stay, later ones win
        for corrections in (self._locked, painted):
            for index, pixels in corrections.items():
                locked.correct(index, pixels)
        folder = self.folder.get()
        return self._begin(
            [part.source.layer for part in self.layers.parts],
            None if folder is None else beside(folder),
            corrections=locked.take_corrections(),
            start_masks=self.layers.masks(self.layers.epoch),
        )

    def save_mask(self, path: str | Path, ome: bool = False) -> list[Path]:
        """Write the final mask, else the epoch on the slider, as TIFF of 0 and 255 with the source's scale.

        Parameters
        ----------
        path : path
            The file; with several sources each one's name is added to its stem.
        ome : bool
            OME-TIFF instead of ImageJ TIFF.

        Returns
        -------
        list of Path
            What was written; empty if something was wrong.
        """
        if not self._has_masks():
            return []
        assert self.layers is not None
        try:
            return self.layers.save(Path(path), self._kept, ome)
        except (MetastructureError, OSError) as error:
            show_error(str(error))
            return []

    def _ask_where(self, ome: bool) -> None:
        kind = "OME-TIFF (*.ome.tif *.ome.tiff)" if ome else "TIFF (*.tif *.tiff)"
        name, _ = QFileDialog.getSaveFileName(self, "Save mask", "mask.ome.tif" if ome else "mask.tif", kind)
        if name and (paths := self.save_mask(name, ome)):
            self.progress.say(f"Saved {', '.join(path.name for path in paths)}.")

    def _show_extra(self, kind: Any, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _has_masks(self) -> bool:
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return False
        return True


def _count(corrections: Mapping[int, np.ndarray]) -> int:
    return sum(int((pixels != 255).sum()) for pixels in corrections.values())
