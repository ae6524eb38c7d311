"""``metastructure doctor``: versions, Qt binding and devices, for bug reports and missing GPUs."""

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import typer

_PACKAGES = ("napari", "torch", "segmentation-models-pytorch", "numpy", "scikit-image", "tifffile")
_BINDINGS = ("PyQt5", "PyQt6", "PySide2", "PySide6")


def doctor() -> None:
    """Print versions, the Qt binding and the devices a run can take."""
    for name, value in _facts():
        typer.echo(f"{name:<28}{value}")


def _facts() -> Iterator[tuple[str, str]]:
    yield "napari-metastructure", _version("napari-metastructure")
    yield "python", f"{platform.python_version()} ({platform.platform()})"
    for name in _PACKAGES:
        yield name, _version(name)
    yield "Qt binding", _qt()

    import torch

    from napari_metastructure.networks.device import list_devices

    build = torch.version.cuda and f"CUDA {torch.version.cuda}"
    build = build or (torch.version.hip and f"ROCm {torch.version.hip}") or "CPU only"
    yield "torch build", build
    for device in list_devices():
        free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
        yield f"device {device.id}", f"{device.name}{free}"
    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        yield "hint", _missing_cuda(build)


def _missing_cuda(build: str) -> str:
    """Say why a machine with an NVIDIA driver may show no CUDA device."""
    if build == "CPU only":
        why = "this torch was built without CUDA; install one that has it"
    else:
        why = f"the driver does not serve this torch ({build}); update it or install torch for an older CUDA"
    return f"an NVIDIA driver is here but torch sees no GPU: {why} (https://pytorch.org/get-started/locally/)"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _qt() -> str:
    """Name the binding qtpy takes, and its versions; all that are installed where it takes none."""
    try:
        import qtpy
        from qtpy.QtCore import qVersion

        return f"{qtpy.API_NAME} {qtpy.PYQT_VERSION or qtpy.PYSIDE_VERSION} (Qt {qVersion()})"
    except Exception as error:  # qtpy raises kinds of its own without a binding, the loader others
        found = [name for name in _BINDINGS if find_spec(name)]
        if not found:
            return "none; the plugin needs one: pip install 'napari-metastructure[pyqt5]' or [pyqt6]"
        return f"{', '.join(found)} installed but not usable: {str(error).splitlines()[0]}"
