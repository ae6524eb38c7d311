"""The examples in the docstrings of the labels package."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

from napari_metastructure import labels

MODULES = [f"{labels.__name__}.{module.name}" for module in pkgutil.iter_modules(labels.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed
