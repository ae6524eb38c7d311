"""Start-up, help, version, exit codes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_metastructure import __version__
from napari_metastructure.cli import main as module
from napari_metastructure.errors import InputError, RunFailed

HEAVY = ("torch", "napari", "qtpy", "skimage", "scipy", "segmentation_models_pytorch", "tifffile", "PIL")


@pytest.mark.parametrize("arguments", [["--help"], ["igtt", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom napari_metastructure.cli.main import main\n"
        f"try: main({arguments})\nexcept SystemExit as e: assert not e.code, e.code\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=150)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a group of processes, this one among them")
@pytest.mark.parametrize("library", ["typer", "pydantic", "numpy"])
def test_ctrl_c_while_libraries_are_imported_ends_quietly(library):
    code = f"""
import os, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {library!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from napari_metastructure.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that is in use")
def test_a_working_folder_that_was_removed_is_told(run, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run("igtt", "a.tif", "--out", "b")
    assert (code, err) == (2, "Error: The working folder does not exist any more; change to another one (cd).\n")


def test_python_runs_the_package():
    command = [sys.executable, "-m", "napari_metastructure", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150)
    assert done.stdout == f"napari-metastructure {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["compare", "--images", "x", "--out", "o", "--repeats", "1,5"],
            "--repeats must be a whole number, not '1,5'.",
        ),
        (
            ["noise", "x", "--out", "o", "--kind", "flip", "--fraction", "50%"],
            "--fraction must be a number, not '50%'.",
        ),
        (["--series", "one", "score", "a", "b"], "--series must be a whole number, not 'one'."),
    ],
)
def test_what_is_no_number_is_named(run, arguments, sentence):
    code, _, err = run(*arguments)
    assert (code, err) == (2, f"Error: {sentence}\n")


@pytest.mark.parametrize(
    ("option", "twice"),
    [
        ("--epochs", ["--epochs", "2", "--epochs", "4"]),
        ("--out", ["--out", "a"]),
        ("--seed", ["--seed=1", "--device", "cpu", "--seed=2"]),
    ],
)
def test_an_option_given_twice_is_refused(run, option, twice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("igtt", "x.tif", "--out", "o", *twice)
    assert (code, err) == (2, f"Error: {option} is given twice; give it once.\n")
    assert "twice" not in run("igtt", "x.tif", "--out", "o", "--ome", "--ome", "--set", "a=1", "--set", "b=2")[2]


def test_version_and_usage(run):
    assert run("--version") == (0, f"napari-metastructure {__version__}\n", "")
    code, _, err = run("igtt")
    assert code == 2
    assert "Missing" in err
    assert run("nonsense")[0] == 2


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("a.tif is empty."), 2, "Error: a.tif is empty.\n"),
        (
            PermissionError(13, "Permission denied", "closed/a.tif"),
            2,
            "Error: No permission to use closed/a.tif; change its permissions, or choose another place.\n",
        ),
        (RunFailed("It broke."), 1, "Error: It broke.\n"),
        (MemoryError(), 1, "Error: There is not enough memory for these images; give fewer or smaller ones.\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(run, monkeypatch, error, code, text):
    def fail(arguments):
        raise error

    monkeypatch.setattr(module, "app", fail)
    assert run("doctor") == (code, "", text)


@pytest.mark.parametrize(
    ("arguments", "before", "called", "waits"),
    [
        (None, None, ["seldom", "no more"], "PASSIVE"),
        (None, "ACTIVE", ["seldom", "no more"], "ACTIVE"),
        (["--version"], None, [], None),
    ],
)
def test_only_the_program_itself_changes_how_threads_wait_and_garbage_is_found(
    monkeypatch, arguments, before, called, waits
):
    found: list[str] = []
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")  # so that it is put back
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(module.gc, "set_threshold", lambda count: found.append("seldom"))
    monkeypatch.setattr(module.gc, "freeze", lambda: found.append("no more"))
    monkeypatch.setattr(sys, "argv", ["metastructure", "--version"])
    with pytest.raises(SystemExit):
        module.main(arguments)
    assert found == called
    assert os.environ.get("OMP_WAIT_POLICY") == waits


@pytest.mark.parametrize("arguments", [("a", "", "--out", "b"), ("a", "b", "--out", ""), ("a", "b", "--out=")])
def test_an_empty_argument_is_not_the_working_folder(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", *arguments)
    assert code == 2 and err.startswith("Error: An empty text was given") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_planes_may_be_an_empty_text(run):
    assert "There is no model a" in run("predict", "a", "b", "--out", "c", "--planes", "", "--frames=")[2]


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "app", fail)
    with pytest.raises(ZeroDivisionError):
        module.main(["doctor"])


def test_axes_and_series_hold_for_all_files_of_a_call(run, tmp_path):
    labels = np.kron(np.eye(3, dtype=np.uint8), np.ones((8, 8), np.uint8))
    path, out = tmp_path / "x.ome.tif", tmp_path / "x_density.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(labels[:8, :16], metadata={"axes": "YX"})
        tif.write(labels, metadata={"axes": "YX"})
    density = ("density", path, "--bandwidth", 2, "--class", 1, "--overwrite", "--out", tmp_path)
    for options, shape, told in ((("--series", 0), (8, 16), False), ((), (24, 24), True)):
        code, _, err = run(*options, *density)
        assert (code, "holds 2 images" in err) == (0, told), err
        assert tifffile.imread(out).shape == shape
    assert run("--axes", "XY", "--series", 1, *density)[0] == 0
    code, _, err = run("--axes", "ZYX", "--series", 1, *density)
    assert (code, "--axes ZYX names 3 axes" in err) == (2, True)
    for option, value in (("--axes", "ABC"), ("--series", -1)):
        code, _, err = run(option, value, "doctor")
        assert (code, option in err) == (2, True)


def test_ctrl_c_while_the_command_is_made_is_no_traceback(run, monkeypatch):
    def made(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.main.get_command", made)
    code, out, err = run("doctor")
    assert (code, out, err) == (130, "", "")
