"""The package as a whole: its floors, its manifest, and what opening a menu costs."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import npe2
import pytest

import napari_metastructure

NAME = "napari-metastructure"
VIEWER = ("napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "superqt", "pyqtgraph", "magicgui", "vispy")
HEAVY = ("torch", "torchvision", "segmentation_models_pytorch", "timm")
FLOORS = (
    {"errors"}, {"images", "labels"}, {"networks"}, {"training"}, {"igtt"}, {"baselines"}, {"batch"}, {"cli", "plugin"},
    {"__main__"},
)  # fmt: skip
COMMANDS = ("igtt", "measure", "noise", "density", "transition")

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked by this test")

sys.meta_path.insert(0, Block())
"""


def python(code: str) -> str:
    """Run code in a fresh interpreter; what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(without: str) -> list[str]:
    """Every module of the package but those of one floor."""
    prefix = f"{napari_metastructure.__name__}."
    found = [module.name for module in pkgutil.walk_packages(napari_metastructure.__path__, prefix)]
    return [name for name in found if not f"{name}.".startswith(f"{prefix}{without}.")]


@pytest.fixture(scope="module")
def manifest() -> npe2.PluginManifest:
    return npe2.PluginManifest.from_distribution(NAME)


def imported(module: str, known: set[str]) -> set[str]:
    """Those of the known modules that one imports, at its top or anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & known) - {module}


def test_imports_run_downward_and_in_no_circle():
    height = {floor: level for level, floors in enumerate(FLOORS) for floor in floors}
    known = set(modules(without="nothing"))
    graph = {module: imported(module, known) for module in known}
    floor = {module: module.split(".")[1] for module in graph}
    assert set(floor.values()) == set(height)
    wrong = [
        (module, other)
        for module, others in graph.items()
        for other in others
        if floor[other] != floor[module]
        and (height[floor[other]] > height[floor[module]] or {floor[module], floor[other]} == {"cli", "plugin"})
    ]
    assert wrong == []
    assert len(tuple(TopologicalSorter(graph).static_order())) == len(graph)  # raises where there is a circle


def test_all_but_the_plugin_does_without_napari_and_qt():
    names = modules(without="plugin")
    assert "napari_metastructure.igtt.iterate" in names
    imports = "\n".join(f"import {name}" for name in names)
    python(BLOCK.format(blocked=set(VIEWER)) + imports)


def test_the_block_blocks():
    """The test above could not fail otherwise."""
    with pytest.raises(AssertionError, match="is blocked by this test"):
        python(BLOCK.format(blocked={"napari"}) + "import napari")


def test_examples_in_docstrings_give_what_they_say():
    found = {name: doctest.testmod(importlib.import_module(name)) for name in modules(without="plugin")}
    assert sum(result.attempted for result in found.values()) > 10
    assert [name for name, result in found.items() if result.failed] == []


def test_the_menu_opens_without_torch(manifest):
    targets = {command.python_name.partition(":")[0] for command in manifest.contributions.commands}
    assert "napari_metastructure.plugin.igtt" in targets
    code = f"import npe2; npe2.PluginManifest.from_distribution({NAME!r})\n"
    code += "\n".join(f"import {name}" for name in sorted(targets))
    code += f"\nimport sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).split() == []


def test_a_sample_opens_without_torch():
    code = "from napari_metastructure.plugin import samples; samples.nuclei()\n"
    code += f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).split() == []


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_command_line_help_imports_no_torch(arguments):
    code = "import sys; from napari_metastructure.cli.main import main\n"
    code += f"sys.argv[1:] = {arguments!r}\n"
    code += "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
    code += f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).splitlines()[-1].strip() == "heavy:"


def test_the_manifest_lists_what_the_plugin_offers(manifest):
    offered = manifest.contributions
    assert [widget.display_name for widget in offered.widgets] == [
        "iGTT (segment without labels)",
        "Train (U-Net, DeepLabv3+, HRNet)",
        "Predict (apply a saved model)",
        "Meta-structure density",
        "Label noise (RCL, PCL, RL)",
        "Noise study",
        "Compare methods",
        "Clean up and measure",
    ]
    assert [sample.key for sample in offered.sample_data] == ["er", "mitochondria", "nuclei", "figure_6"]
    assert {ext for writer in offered.writers for ext in writer.filename_extensions} == {
        *(".tif", ".tiff"),
        *(".ome.tif", ".ome.tiff"),
    }
    segment = [f"{NAME}.{name}" for name in ("igtt", "train", "predict", "compare")]
    assert [item.command for item in offered.menus["napari/layers/segment"]] == segment
    assert [item.command for item in offered.menus["napari/layers/filter"]] == [f"{NAME}.noise"]
    measure = [f"{NAME}.{name}" for name in ("measure", "density", "study")]
    assert [item.command for item in offered.menus["napari/layers/measure"]] == measure


def test_all_the_manifest_names_can_be_imported():
    """As `npe2 validate --imports` does, in a process of its own: it imports Qt."""
    python(f"import npe2; npe2.PluginManifest.from_distribution({NAME!r}).validate_imports()")


@pytest.mark.parametrize(
    ("file", "command"),
    [("mask.tif", "write_labels"), ("mask.tiff", "write_labels"), ("mask.ome.tif", "write_labels_ome")],
)
def test_the_writer_follows_from_the_ending(manifest, file, command):
    manager = npe2.PluginManager()
    manager.register(manifest)
    writer, path = manager.get_writer(file, ["labels"])
    assert (writer.command, path) == (f"{NAME}.{command}", file)


def test_both_copies_of_the_manifest_are_equal(root):
    top = (root / "napari.yaml").read_bytes()
    assert top == (root / "src" / "napari_metastructure" / "napari.yaml").read_bytes(), "run `make manifest`"


def test_the_package_brings_no_qt_binding():
    """A plugin that pulls one in breaks environments that hold another."""
    needed = [line for line in importlib.metadata.requires(NAME) or [] if "extra ==" not in line]
    assert needed
    assert not [line for line in needed if line.lower().startswith(("pyqt5", "pyqt6", "pyside", "napari["))]
    assert {"pyqt5", "pyqt6", "test"} <= set(importlib.metadata.metadata(NAME).get_all("Provides-Extra"))
