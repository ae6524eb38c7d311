"""triton is kept out exactly where importing it would end the process."""

import sys

import pytest

from napari_metastructure.plugin import _worker as two_llvms


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "triton")


@pytest.mark.parametrize(
    ("maps", "there"),
    [
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n", True),
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libgallium-25.0.so\n", True),
        ("7f00 r-xp /usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.0\n", False),
        (None, False),
    ],
)
def test_only_mesas_llvm_counts(tmp_path, maps, there):
    path = tmp_path / "maps"
    if maps is not None:
        path.write_text(maps)
    assert two_llvms._mesa_llvm_is_loaded(path) is there


def test_with_mesas_llvm_triton_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(two_llvms, "_mesa_llvm_is_loaded", lambda: True)
    assert two_llvms.keep_triton_out()
    assert two_llvms.keep_triton_out()
    with pytest.raises(ImportError):
        import triton  # noqa: F401


def test_without_it_nothing_changes(monkeypatch):
    monkeypatch.setattr(two_llvms, "_mesa_llvm_is_loaded", lambda: False)
    assert not two_llvms.keep_triton_out()
    assert "triton" not in sys.modules


def test_a_triton_that_is_loaded_already_stays(monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "triton", loaded)
    monkeypatch.setattr(two_llvms, "_mesa_llvm_is_loaded", lambda: True)
    assert not two_llvms.keep_triton_out()
    assert sys.modules["triton"] is loaded
