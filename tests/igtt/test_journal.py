"""When a run is over."""

import numpy as np
import pytest

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.journal import Journal


def journal(agreements, stop_agreement=0.99):
    """The journal of a run whose rounds agreed so with the ones before."""
    made = Journal(IGTTConfig(stop_agreement=stop_agreement), [np.zeros((4, 4), np.float32)], None)
    made.rows += [{"epoch": i, "agreement": a} for i, a in enumerate([float("nan"), *agreements])]
    return made


@pytest.mark.parametrize(
    ("agreements", "stable", "wandering"),
    [
        ([], False, False),
        ([0.995], False, False),
        ([0.995, 0.991], True, False),
        ([0.9, 0.95, 0.995, 0.992], True, False),
        ([0.97, 0.96], False, False),  # two rounds are too few to say
        ([0.95, 0.98, 0.985, 0.981], False, False),
        ([0.95, 0.98, 0.97, 0.96], False, True),
        ([0.95, 0.98, 0.7, 0.96], False, False),  # somebody has painted
        ([0.98, 0.98, 0.98], False, False),
    ],
)
def test_a_run_is_over_once_its_masks_settle_or_wander(agreements, stable, wandering):
    rows = journal(agreements)
    assert (rows.stable(2), rows.wandering(2)) == (stable, wandering)
    never = journal(agreements, 1.0)
    assert not never.stable(2) and not never.wandering(2)
