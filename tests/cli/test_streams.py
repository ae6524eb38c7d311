"""Commands whose output goes where it cannot be written."""

import os
import subprocess
import sys

import numpy as np
import pytest

MASK = np.uint8(255) * (np.hypot(*np.mgrid[-20:20, -24:24]) < 9)


def program(*arguments, **options):
    """Run the program; what it sent to stderr."""
    command = [sys.executable, "-m", "napari_metastructure", *map(str, arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=150, **options)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_behind_the_output_ends_nothing(save, tmp_path):
    save(tmp_path / "m" / "a.png", MASK)
    with open("/dev/full", "w") as full:
        said = program("measure", tmp_path / "m", "--out", tmp_path / "t.csv", stdout=full)
    assert said.startswith("Warning: the output cannot be written") and said.count("\n") == 1
    assert len((tmp_path / "t.csv").read_text(encoding="utf-8-sig").splitlines()) == 2


def test_letters_that_the_output_lacks_are_written_as_codes(save, tmp_path):
    for folder in "pt":
        save(tmp_path / folder / "zelle_日ü.png", MASK)
    with (tmp_path / "out.txt").open("w") as out:
        program("score", tmp_path / "p", tmp_path / "t", stdout=out, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert "zelle_\\u65e5ü" in (tmp_path / "out.txt").read_text(encoding="latin-1")
