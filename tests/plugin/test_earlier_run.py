"""What a folder holds is read from its files, whatever state they are in."""

import pytest
import yaml

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin._inputs import FolderRow
from napari_metastructure.plugin._job_widget import RunInFolder
from napari_metastructure.plugin.igtt import RESUMED, EarlierRun, SettingsPanel


def write(folder, *, settings=None, metrics=None, state=True):
    folder.mkdir(exist_ok=True)
    settings = yaml.safe_dump({"config": IGTTConfig(epochs=7).model_dump()}) if settings is None else settings
    (folder / "run.yaml").write_text(settings)
    if metrics is not None:
        (folder / "metrics.csv").write_text(metrics)
    if state:
        (folder / "last.pt").write_bytes(b"")
    return folder


def test_settings_and_rounds_come_back(tmp_path):
    write(tmp_path, metrics="epoch,loss,agreement,seconds\n0,nan,nan,1\n1,0.5,0.8,1\n2,0.4,0.9,1\n")
    run = EarlierRun.find(tmp_path)
    assert run.config() == IGTTConfig(epochs=7)
    assert run.rounds == [(1, 0.5, 0.8), (2, 0.4, 0.9)]
    assert run.epoch == 2
    assert run.can_go_on


@pytest.mark.parametrize("metrics", [None, "", "epoch,loss\n1,0.5\n", "epoch,loss,agreement\n1,x,0.5\n"])
def test_without_metrics_only_the_curves_are_missing(tmp_path, metrics):
    run = EarlierRun.find(write(tmp_path, metrics=metrics))
    assert run.epoch == 0
    assert run.config().epochs == 7


@pytest.mark.parametrize("name", ["last.pt", "run.yaml", "model.safetensors", "metrics.csv"])
def test_any_file_of_a_run_takes_a_folder(tmp_path, name):
    assert EarlierRun.find(tmp_path) is None
    (tmp_path / "notes.txt").write_text("mine")
    assert EarlierRun.find(tmp_path) is None
    (tmp_path / name).write_text("")
    assert EarlierRun.find(tmp_path).can_go_on is (name == "last.pt")


@pytest.mark.parametrize("folder", [None, "", "nowhere/at/all", "a\0b"])
def test_no_folder_holds_no_run(tmp_path, folder):
    assert EarlierRun.find(None if folder is None else tmp_path / folder) is None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("config: {epochs: 0}", "epochs: .*greater than or equal to 1"),
        ("config: {colour: red}", "colour: "),
        ("config: [1, 2", "damaged"),
        ("42", "damaged"),
        ("", "damaged"),
        ("config:\n", "damaged"),
    ],
)
def test_settings_that_cannot_be_read_are_one_sentence(tmp_path, settings, why):
    with pytest.raises(InputError, match=f"run.yaml: .*{why}") as caught:
        EarlierRun.find(write(tmp_path, settings=settings)).config()
    assert "\n" not in str(caught.value)


def test_a_folder_beside_is_a_free_one(qtbot, tmp_path):
    form = SettingsPanel()
    qtbot.addWidget(form)
    folder = RunInFolder(EarlierRun, form, (), RESUMED)
    qtbot.addWidget(folder.row)
    assert folder.free_beside() is None
    folder.row.set(tmp_path / "run")
    assert folder.free_beside() == tmp_path / "run"
    (tmp_path / "run").mkdir()
    assert folder.free_beside() == tmp_path / "run"
    write(tmp_path / "run")
    (tmp_path / "run-2").mkdir()
    assert folder.free_beside() == tmp_path / "run-3"


def test_the_row_offers_what_the_folder_allows(qtbot, tmp_path):
    row = FolderRow(EarlierRun, RESUMED)
    qtbot.addWidget(row)
    parts = (row.found, row.load_button, row.resume_button)
    assert all(part.isHidden() for part in parts)
    row.path.line.setText("~nobody-has-this-name/x")  # as it is typed
    assert row.get() is not None
    row.set(write(tmp_path, metrics="epoch,loss,agreement\n3,0.5,0.8\n"))
    assert not any(part.isHidden() for part in parts)
    assert row.minimumSizeHint().width() < 320  # of the 340 that the widget needs
    assert "epoch 3" in row.found.text()
    assert row.resume_button.isEnabled()
    (tmp_path / "last.pt").unlink()
    row.look()
    assert not row.resume_button.isEnabled()
    assert row.load_button.isEnabled()
    row.set(None)
    assert all(part.isHidden() for part in parts)
