"""The parts of the documentation that are made from the code."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest

from napari_metastructure.cli.main import app
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.labels.recipes import RECIPES


@pytest.fixture
def hooks(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("docs_hooks")


def test_the_page_of_commands_lists_all_with_their_options(hooks):
    page = hooks.commands()
    names = [command.callback.__name__ for command in app.registered_commands]
    assert len(names) > 10
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == names
    igtt = page.partition("\n## igtt\n")[2].partition("\n## ")[0]
    assert "metastructure igtt [OPTIONS]" in igtt
    assert {"--out", "--resume", "--keep-epochs", "--set"} <= set(re.findall(r"`(--[a-z-]+)", igtt))
    assert re.search(r"<\w", re.sub(r"`[^`]*`", "", page)) is None, "HTML would swallow it"


def test_a_page_gets_a_row_for_each_setting(hooks):
    text = hooks.on_page_markdown("before\n\n<!-- settings igtt -->\n\nafter")
    assert text.startswith("before\n\n| setting | default | paper | what |\n") and text.endswith("\n\nafter")
    assert text.count("\n| ") == 2 + len(IGTTConfig.model_fields)
    assert "\n| Patch size | 256 |  | Side of patches" in text
    assert "\n| Optimizer | adamw | sgd | " in text
    assert "\n| Radius | 1 |  | " in text, "the preset sets what is the default"


def test_the_page_of_training_calls_the_reading_as_the_widgets_do(hooks):
    assert "\n| Labels are | auto |" in hooks.settings("train")


def test_a_page_gets_the_dials_of_each_kind_of_noise(hooks):
    text = hooks.settings("noise")
    assert re.findall(r"^\*\*.+\*\* \(`(\w+)`\)$", text, re.MULTILINE) == list(RECIPES)
    dials = set(re.findall(r"^\| (?!dial|---)([^|]+) \|", text, re.MULTILINE))
    assert {"Kept (P_sample)", "Swapped (P_flip)", "P_generate", "Steps"} <= dials, "as the widget calls them"


def test_an_unknown_table_is_an_error_of_the_build(hooks):
    with pytest.raises(KeyError):
        hooks.on_page_markdown("<!-- settings nothing -->")


def test_cells_cannot_break_the_table(hooks):
    (*_, row) = hooks.table(("a", "b", "c"), [("x|y", "<stem>", "`<a|b>`")]).splitlines()[:3]
    assert row == r"| x\|y | &lt;stem&gt; | `<a|b>` |"


def test_what_the_readme_names_is_there(root):
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)", (root / "README.md").read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (root / target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/labels.md", "docs/widgets/measure.md"])
def test_the_python_that_a_page_shows_runs(page, root, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (root / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    images = [nuclei((64, 64), np.random.default_rng(0))[0]]
    for block in blocks:
        exec(block, {"images": images})
    assert capsys.readouterr().out


def test_commands_in_the_pages_have_only_options_there_are(hooks, root):
    known = {part.partition("\n")[0]: part for part in hooks.commands().split("\n## ")}
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    shown = "\n".join(page.read_text(encoding="utf-8") for page in pages).replace("\\\n", " ")
    lines = re.findall(r"^metastructure (?:--axes \S+ --series \S+ )?(\w+)(.*)$", shown, re.MULTILINE)
    assert len(lines) > 20
    options = {(name, option) for name, rest in lines for option in re.findall(r"(--[a-z-]+)", rest.partition(" #")[0])}
    assert sorted((name, option) for name, option in options if not re.search(rf"{option}\b", known[name])) == []
