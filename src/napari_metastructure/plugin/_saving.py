"""Dialogs that ask where results are saved: nothing is replaced that the user has not been asked about."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_metastructure.errors import listed


def ask_file(parent: QWidget, title: str, proposed: Path | str, kinds: Mapping[str, str]) -> Path | None:
    """Ask for a file; None if the user does not want to.

    Parameters
    ----------
    parent : QWidget
    title : str
    proposed : path
    kinds : mapping of str to str
        Names of the kinds of file by their endings: ``{".csv": "CSV"}``. A name without any of them gets that of the
        kind that was chosen.
    """
    filters = {f"{kind} (*{ending})": ending for ending, kind in kinds.items()}
    name, kind = QFileDialog.getSaveFileName(parent, title, str(proposed), ";;".join(filters))
    if not name:
        return None
    path = Path(name)
    if not name.lower().endswith(tuple(kinds)):
        path = path.with_name(path.name + filters.get(kind, next(iter(kinds))))
    return path if may_replace(parent, title, [path], name) else None


def ask_folder(parent: QWidget, files: Iterable[str]) -> Path | None:
    """Ask for a folder for files of these names; None if the user does not want to."""
    title = "Save results into"
    name = QFileDialog.getExistingDirectory(parent, title)
    return Path(name) if name and may_replace(parent, title, [Path(name, file) for file in files]) else None


def may_replace(parent: QWidget, title: str, paths: Iterable[Path], asked: Path | str | None = None) -> bool:
    """Whether the user wants the files replaced that are there; of the name that was ``asked`` for the dialog knows."""
    there = [path.name for path in paths if path.exists() and (asked is None or path != Path(asked))]
    if not there:
        return True
    yes = QMessageBox.StandardButton.Yes
    verb = "is" if len(there) == 1 else "are"
    it = "it" if len(there) == 1 else "them"
    return bool(QMessageBox.question(parent, title, f"{listed(there)} {verb} there already. Replace {it}?") == yes)
