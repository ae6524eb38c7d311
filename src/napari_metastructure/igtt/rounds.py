"""Rounds of an iGTT run: its network, steps per round, and stopping rules."""

import math
from collections.abc import Sequence
from itertools import pairwise

from napari_metastructure.igtt import start
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks import SMALL_ENCODERS
from napari_metastructure.networks.build import NetworkSpec

STABLE_ROUNDS = 1
"""Rounds in a row whose masks must agree with the ones before for the run to be over: after one, later ones changed the
Dice by .002 at most."""

UNSETTLED_ROUNDS = 2
"""Rounds in a row that changed the masks more than the one before for the run to be over: a network that learns from
itself has begun to drift."""

VIEWS = 3
"""Times that a round sees each pixel, on average, where the weights were the prior's: it is right from the start, and a
few images seen again and again teach it nothing more."""

FEWEST_STEPS = 8
"""Steps of such a round at least."""


def stable(agreements: Sequence[float], stop_agreement: float) -> bool:
    """Whether the masks of the newest rounds all agree with the ones before them.

    Parameters
    ----------
    agreements : sequence of float
        Dice of each round's masks with those of the round before, from round 1.
    stop_agreement : float
        The Dice from which on masks count as unchanged; 1 is never reached.
    """
    newest = agreements[-STABLE_ROUNDS:]
    return stop_agreement < 1 and len(newest) == STABLE_ROUNDS and min(newest) >= stop_agreement


def unsettled(agreements: Sequence[float], stop_agreement: float) -> bool:
    """Whether each of the newest rounds changed the masks more than the one before it: they will not settle.

    Parameters are as for `stable`.
    """
    newest = agreements[-UNSETTLED_ROUNDS - 1 :]
    return (
        stop_agreement < 1
        and len(newest) > UNSETTLED_ROUNDS
        and all(later < earlier for earlier, later in pairwise(newest))
    )


def spec_of(config: IGTTConfig) -> NetworkSpec:
    """Describe the network of a run."""
    return NetworkSpec(
        architecture=config.network,
        in_channels=channels_of(config.inputs),
        encoder=config.encoder or SMALL_ENCODERS[config.network],
        base_channels=config.base_channels,
    )


def is_trained(config: IGTTConfig) -> bool:
    """Whether a run begins with the weights of the prior."""
    return config.weights == "prior" and (spec_of(config), config.inputs) == (start.SPEC, start.USE.inputs)


def steps_and_batch(config: IGTTConfig, trained: bool, patches: float) -> tuple[int, int]:
    """Return the steps of a round and the patches of a step, where all images make so many: fewer for few.

    Random weights, and what the user has painted, have yet to be learned and take all that is allowed.
    """
    if not trained:
        return config.steps_per_epoch, config.batch_size
    batch = min(config.batch_size, math.ceil(patches))
    return min(config.steps_per_epoch, max(FEWEST_STEPS, math.ceil(VIEWS * patches / batch))), batch
