"""Files of commands: options that exclude each other."""

import pytest


@pytest.mark.parametrize("command", ["train", "igtt"])
def test_going_on_and_replacing_exclude_each_other(run, tmp_path, command):
    code, _, err = run(command, tmp_path, "--out", tmp_path / "out", "--resume", "--overwrite")
    assert code == 2 and "give one of them" in err
