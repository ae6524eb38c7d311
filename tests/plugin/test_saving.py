"""Dialogs that ask where to save: endings that are left out, and files that would be replaced."""

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_metastructure.plugin._saving import ask_file, ask_folder

KINDS = {".gif": "GIF", ".mp4": "MP4"}


@pytest.fixture
def user(monkeypatch, qtbot):
    """Answers dialogs with what is put in; notes what was asked."""

    class User(QWidget):
        name, kind, yes = "", "", True

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[str] = []

    user = User()
    qtbot.addWidget(user)
    buttons = QMessageBox.StandardButton

    def question(*given):
        user.asked.append(given[2])
        return buttons.Yes if user.yes else buttons.No

    monkeypatch.setattr(QMessageBox, "question", question)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (user.name, user.kind))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: user.name)
    return user


@pytest.mark.parametrize(
    ("typed", "kind", "meant"),
    [
        ("film", "", "film.gif"),
        ("film", "MP4 (*.mp4)", "film.mp4"),
        ("film.MP4", "GIF (*.gif)", "film.MP4"),
        ("day 3.5 µm", "GIF (*.gif)", "day 3.5 µm.gif"),
    ],
)
def test_a_name_gets_the_ending_that_it_lacks(user, tmp_path, typed, kind, meant):
    user.name, user.kind = str(tmp_path / typed), kind
    assert ask_file(user, "Save", "x.gif", KINDS) == tmp_path / meant


def test_a_file_whose_ending_was_not_typed_is_replaced_only_if_wanted(user, tmp_path):
    (tmp_path / "film.gif").touch()
    user.name, user.yes = str(tmp_path / "film"), False
    assert ask_file(user, "Save", "x.gif", KINDS) is None
    user.yes = True
    assert ask_file(user, "Save", "x.gif", KINDS) == tmp_path / "film.gif"
    assert user.asked == ["film.gif is there already. Replace it?"] * 2
    user.name = str(tmp_path / "film.gif")
    assert ask_file(user, "Save", "x.gif", KINDS) == tmp_path / "film.gif"
    assert len(user.asked) == 2  # the dialog has asked already


def test_results_in_a_folder_are_replaced_only_if_wanted(user, tmp_path):
    files = ("table.csv", "study.png", "study.svg")
    user.name = str(tmp_path)
    assert ask_folder(user, files) == tmp_path and not user.asked
    for name in files[:2]:
        (tmp_path / name).touch()
    user.yes = False
    assert ask_folder(user, files) is None
    assert user.asked == ["table.csv and study.png are there already. Replace them?"]
    user.name = ""
    assert ask_folder(user, files) is None and len(user.asked) == 1


def test_results_of_a_comparison_do_not_replace_those_of_a_study(user, tmp_path, open_compare, run, qtbot):
    _viewer, widget = open_compare(methods=("otsu",))
    run(widget)
    (tmp_path / "table.csv").write_text("of a study")
    user.name, user.yes = str(tmp_path), False
    widget.save_button.click()
    assert user.asked == ["table.csv is there already. Replace it?"]
    user.yes = True
    with qtbot.waitSignal(widget.saved):
        widget.save_button.click()
    assert (tmp_path / "table.csv").read_text() != "of a study"
