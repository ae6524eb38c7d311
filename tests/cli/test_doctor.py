"""``metastructure doctor``."""

import platform
import shutil

import numpy as np
import pytest
import torch

from napari_metastructure import __version__


def facts(out):
    return {line[:28].strip(): line[28:].strip() for line in out.splitlines()}


def test_versions_and_devices(run):
    code, out, err = run("doctor")
    found = facts(out)
    assert (code, err) == (0, "")
    assert found["napari-metastructure"] == __version__
    assert found["python"].startswith(platform.python_version())
    assert found["numpy"] == np.__version__
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert "device cpu" in found
    assert found["Qt binding"]


@pytest.mark.parametrize(("cuda", "words"), [(None, "built without CUDA"), ("13.2", "update it")])
def test_a_driver_without_cuda_gives_a_hint(run, monkeypatch, cuda, words):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert words in facts(run("doctor")[1])["hint"]


def test_no_driver_no_hint(run, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "hint" not in facts(run("doctor")[1])


def test_without_a_qt_binding_it_says_what_to_install(run, monkeypatch):
    import sys

    from napari_metastructure.cli import doctor

    monkeypatch.setitem(sys.modules, "qtpy", None)  # importing it fails
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert "pip install" in facts(run("doctor")[1])["Qt binding"]
