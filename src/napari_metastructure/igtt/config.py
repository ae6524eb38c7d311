"""Settings of iGTT runs, validated: widget tooltips, YAML and CLI options come from here."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from napari_metastructure.networks import Architecture

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "network": "unet",
        "inputs": "zscore",
        "weights": "random",
        "start": "black",
        "criterion": "dmi",
        "search": "grid",
        "extraction": "skeleton",
        "keep": 0.1,
        "radius": 1,
        "memory": 0.0,
        "anchor": 0.0,
        "balance": "fixed",
        "loss": "dmi_iou",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "epochs": 20,
        "stop_agreement": 1.0,
        "flaws": "keep",
    },
}
"""Named settings.

``paper`` is Algorithm 1 as printed: black labels, K = 30 thresholds between the least and the greatest
probability, DMI (eq. 4), skeleton shifted within radius 1 and sampled, loss of eq. (6), SGD with momentum, no
memory, no early stop. What it needed beyond the print to run at all:

1. Black labels give eq. (6) no gradient (both terms are constant): rounds whose labels hold no foreground train
   with binary cross-entropy.
2. The determinant of eq. (4) is the same for a mask and its inverse: a probability that falls where the image
   rises is turned around.
3. Batch-normalisation statistics are recomputed before each relabelling; stale ones write nonsense labels.
4. The paper gives neither the fraction EMS keeps, nor the learning rate, nor steps a round: 10 %, 0.01 and 40 are
   ours.
5. Dark objects: the image is turned around first.
6. Eq. (6) can run away to an empty or full mask: the run then ends with the masks of the round before.

Images are taken as they are: the paper mends nothing and leaves nothing out.
"""


MAY_CHANGE = ("epochs", "device", "stop_agreement")
"""Settings that may differ when a run is resumed."""


class IGTTConfig(BaseModel):
    """Settings of `igtt.iterate`; `IGTTConfig.from_preset` fills them by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["default", "paper"] = Field("default", description="The preset that the settings below began with.")
    objects: Literal["auto", "bright", "dark"] = Field(
        "auto",
        description="Are objects brighter or darker than their surround? auto finds it for each image.",
    )
    flaws: Literal["mend", "keep"] = Field(
        "mend",
        description="mend: replace hot pixels and dead lines, and leave out margins of one value, scale bars and what "
        "lies outside a round field of view; keep: take images as they are, without pixels that are NaN.",
    )
    epochs: int = Field(8, ge=1, le=10_000, description="Rounds of training and relabelling at most.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Same seed, same device: the same masks (on a GPU except for rounding)."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")

    network: Architecture = Field(
        "fast-unet",
        description="The network; fast-unet and light-unet suit small data and CPUs, the others have an encoder.",
    )
    encoder: str | None = Field(
        None,
        description="Encoder of unet, deeplabv3plus and deeplabv3 (any name smp offers; default resnet18) or a hrnet_ "
        "of timm (default hrnet_w18_small).",
    )
    encoder_weights: Literal["imagenet"] | None = Field(
        None, description="Start the encoder from ImageNet weights (downloaded once) or from scratch."
    )
    base_channels: int = Field(
        16, ge=4, le=128, description="Channels of fast-unet and light-unet before the first halving."
    )
    inputs: Literal["multiscale", "zscore"] = Field(
        "multiscale",
        description="What the network sees: intensity, its logarithm and local contrast at two scales; or intensity.",
    )

    weights: Literal["prior", "random"] = Field(
        "prior",
        description="First weights of fast-unet with 16 channels and multiscale inputs: those of a network that was "
        "trained on random scenes, or random. All other networks start at random.",
    )
    start: Literal["prior", "fusion", "contrast", "otsu", "black"] = Field(
        "prior",
        description="Labels before the first round: what a network trained on random scenes says, a vote of "
        "thresholdings weighted by their edges, local contrast, Otsu, or black (the paper).",
    )
    rounds: Literal["never", "painted", "always"] = Field(
        "never",
        description="When a run that begins with the prior trains: never, for it ends with its start, or with the "
        "answer to what was painted; once something was painted; or always. Runs that begin otherwise always train.",
    )
    start_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Weight of the start against strokes. Lower it where what is outlined is mostly not what you mean; "
        "at 0 strokes alone count: then paint more of them, of both classes.",
    )
    criterion: Literal["level", "edge", "correlation", "dmi", "iou", "bce"] = Field(
        "level",
        description="How the best candidate mask is chosen. level: the image's own levels near the objects and the "
        "probability vote; correlation, dmi, iou, bce: by agreement with the probability it was cut from; edge: "
        "correlation times how steep the image is along the outline.",
    )
    search: Literal["exact", "grid"] = Field(
        "exact", description="Best of all thresholds, or of the K equally spaced ones of the paper."
    )
    thresholds: int = Field(30, ge=2, le=1000, description="K, the number of thresholds of the search and its curve.")

    extraction: Literal["density", "skeleton", "none"] = Field(
        "density", description="EMS: labels drawn from the mask's local density, as printed (skeleton), or off."
    )
    keep: float = Field(0.5, gt=0, le=1, description="Share of the pixels that keep a label after EMS.")
    radius: int = Field(
        1, ge=0, le=20, description="Radius of EMS in pixels: of the local density, or of the random shift."
    )
    memory: float = Field(
        0.7, ge=0, lt=1, description="Weight of all earlier rounds, against the newest, when new labels are made."
    )
    anchor: float = Field(
        0.5, ge=0, le=1, description="Weight of the start, against what the network says, when new labels are made."
    )
    balance: Literal["edges", "fixed"] = Field(
        "edges",
        description="edges: move the anchor towards the side whose masks fit the edges of the images better; fixed: "
        "keep it.",
    )

    loss: Literal["bce", "dmi_iou"] = Field("bce", description="Binary cross-entropy, or DMI + IoU of eq. (6).")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum (the paper).")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Step size of the optimiser.")
    steps_per_epoch: int = Field(
        40,
        ge=1,
        le=100_000,
        description="Optimiser steps a round; with too few, the network does not learn its labels. A run that begins "
        "with the prior's weights takes fewer for few images.",
    )
    batch_size: int = Field(2, ge=1, le=1024, description="Patches a step; halved by itself if memory runs out.")
    patch_size: int = Field(
        256, ge=32, le=4096, multiple_of=32, description="Side of patches and tiles in pixels, a multiple of 32."
    )
    stop_agreement: float = Field(
        0.99,
        gt=0,
        le=1,
        description="Stop once the masks of two rounds agree to this Dice or better, or once they have changed more "
        "from round to round twice in a row; 1 never stops.",
    )

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: Any) -> Self:
        """Return the settings of a preset, with some of them replaced."""
        return cls(**{"preset": preset, **PRESETS.get(preset, {}), **overrides})
