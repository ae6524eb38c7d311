"""The page and the picture of each widget, and what the page must name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import npe2
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QAbstractButton, QFormLayout, QLabel, QLayout

from napari_metastructure.plugin._glossary import GLOSSARY
from napari_metastructure.plugin._shortcuts import KEYS

DOCS = Path(__file__).parents[2] / "docs"
MANIFEST = npe2.PluginManifest.from_distribution("napari-metastructure")
TITLES = {widget.command.rpartition(".")[2]: widget.display_name for widget in MANIFEST.contributions.widgets}
MOST_BYTES = 300_000


@pytest.fixture(params=TITLES)
def name(request) -> str:
    return request.param


@pytest.fixture
def widget(name, place):
    """The widget, in a viewer without layers and without a window."""
    commands = {command.id: command.python_name for command in MANIFEST.contributions.commands}
    module, _, kind = commands[f"{MANIFEST.name}.{name}"].partition(":")
    viewer = ViewerModel()
    made = getattr(importlib.import_module(module), kind)(viewer)
    place(viewer, made, name)
    return made


@pytest.fixture
def page(name, root, monkeypatch) -> str:
    """The page as the site shows it, with the tables that are made from the code, and what all widgets share."""
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("docs_hooks").on_page_markdown(source_of(name)) + source_of("index")


def source_of(name: str) -> str:
    return (DOCS / "widgets" / f"{name}.md").read_text(encoding="utf-8")


def test_every_widget_has_a_page_with_its_title_and_picture(name):
    page = source_of(name)
    assert page.startswith(f"# {TITLES[name]}\n")
    assert f"](../images/{name}.png)" in page


def test_pictures_are_there_and_small(name):
    pictures = [DOCS / "widgets" / found for found in re.findall(r"!\[[^]]*\]\(([^)]+)\)", source_of(name))]
    assert pictures
    assert [picture.name for picture in pictures if not 0 < picture.stat().st_size < MOST_BYTES] == []


def test_the_page_names_every_control(widget, page):
    buttons = {button.text() for button in widget.findChildren(QAbstractButton)}
    rows = {label.text() for form in widget.findChildren(QFormLayout) for label in _labels(form)}
    named = {text for text in buttons | rows if re.search(r"[A-Za-z]", text)}
    assert len(named) > 5
    page = " ".join(page.split())
    assert sorted(text for text in named if text not in page) == []


def test_nothing_is_laid_out_twice(widget):
    for layout in widget.findChildren(QLayout):
        parts = [part for i in range(layout.count()) if (part := layout.itemAt(i).widget()) is not None]
        assert len(parts) == len({id(part) for part in parts})


def test_the_page_of_all_widgets_names_every_key():
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", source_of("index"), re.MULTILINE)
    named = {key for keys, _ in rows for key in re.split(r", | and ", keys)} | {",", "."}
    assert {key.key for key in KEYS.values()} <= named


def test_the_glossary_has_every_term_of_the_tooltips():
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8").lower()
    heads = " ".join(re.findall(r"^## (.+)$", glossary, re.MULTILINE))
    assert [word for word in GLOSSARY if word.lower() not in heads] == []


def _labels(form: QFormLayout) -> list[QLabel]:
    items = [form.itemAt(i, QFormLayout.ItemRole.LabelRole) for i in range(form.rowCount())]
    return [item.widget() for item in items if item is not None and isinstance(item.widget(), QLabel)]
