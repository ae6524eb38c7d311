"""A file is there whole or as it was before."""

import errno
import os

import numpy as np
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images.writing import replacing, write_tiff


def write(path, value=1):
    write_tiff(path, np.full((9, 9), value, np.uint8), "YX", (1, 1), ("pixel", "pixel"))


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission"), (errno.EIO, "another folder")]
)
def test_failure_in_the_middle_keeps_the_old_file_and_no_rest(tmp_path, monkeypatch, code, words):
    write(tmp_path / "x.tif", 1)

    def half(path, *args, **kwargs):
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(InputError, match=words) as caught:
        write(tmp_path / "x.tif", 2)
    assert str(tmp_path / "x.tif") in str(caught.value)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["x.tif"]
    assert (tifffile.imread(tmp_path / "x.tif") == 1).all()


def test_an_interrupt_leaves_no_rest(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_missing_folder_and_folder_in_the_way(tmp_path):
    with pytest.raises(InputError, match="create it first"):
        write(tmp_path / "no" / "x.tif")
    (tmp_path / "x.tif").mkdir()
    with pytest.raises(InputError, match="in the way"):
        write(tmp_path / "x.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["x.tif"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission"):
            write(tmp_path / "x.tif")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_new_files_get_the_users_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write(tmp_path / "x.tif")
    assert (tmp_path / "x.tif").stat().st_mode == (tmp_path / "usual").stat().st_mode
