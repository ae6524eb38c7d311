"""Networks by name; importing this loads no torch."""

from typing import Literal

Architecture = Literal["fast-unet", "light-unet", "unet", "deeplabv3plus", "deeplabv3", "hrnet"]

ENCODERS: dict[str, str] = {
    "fast-unet": "none",
    "light-unet": "none",
    "unet": "resnet34",
    "deeplabv3plus": "resnet34",
    "deeplabv3": "resnet34",
    "hrnet": "hrnet_w18",
}
"""The encoder a network has where none is named."""

SMALL_ENCODERS: dict[str, str] = ENCODERS | {
    "unet": "resnet18",
    "deeplabv3plus": "resnet18",
    "deeplabv3": "resnet18",
    "hrnet": "hrnet_w18_small",
}
"""Those of iGTT, which trains from scratch on each set of images."""
