"""Options that all commands share."""

from typing import get_args

import pytest

from napari_metastructure.cli._options import chosen_settings
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.training.config import TrainConfig


def test_lists_are_separated_by_commas():
    assert chosen_settings(TrainConfig, {}, ["classes=0,2, 7"]).classes == (0, 2, 7)


@pytest.mark.parametrize("model", [IGTTConfig, TrainConfig])
def test_none_is_the_choice_of_that_name_or_nothing(model):
    read = 0
    for name, field in model.model_fields.items():
        choices = get_args(field.annotation)
        if "none" in choices:
            assert getattr(chosen_settings(model, {}, [f"{name}=none"]), name) == "none"
            read += 1
        elif type(None) in choices:
            assert getattr(chosen_settings(model, {}, [f"{name}=none"]), name) is None
            read += 1
    assert read >= 2
