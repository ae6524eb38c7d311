"""Recipes that move, grow, shrink or thin structures: PCL. Their noise depends on the place."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_metastructure.labels.recipes.base import Family, RecipeBase

_STEPS = "Passes of a 3x3 template: pixels on each side."


class Dilate(RecipeBase):
    """PCL by dilation, see `napari_metastructure.labels.perturbed.dilate`."""

    title: ClassVar[str] = "PCL: dilation"
    family: ClassVar[Family] = "PCL"
    kind: Literal["dilate"] = "dilate"
    n: int = Field(1, ge=0, le=1000, description=_STEPS)

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import dilate

        return dilate(labels, self.n)


class Erode(RecipeBase):
    """PCL by erosion, see `napari_metastructure.labels.perturbed.erode`."""

    title: ClassVar[str] = "PCL: erosion"
    family: ClassVar[Family] = "PCL"
    kind: Literal["erode"] = "erode"
    n: int = Field(1, ge=0, le=1000, description=_STEPS)

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import erode

        return erode(labels, self.n)


class Skeleton(RecipeBase):
    """PCL by thinning, see `napari_metastructure.labels.perturbed.skeleton`."""

    title: ClassVar[str] = "PCL: skeleton"
    family: ClassVar[Family] = "PCL"
    kind: Literal["skeleton"] = "skeleton"

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import skeleton

        return skeleton(labels)


class Open(RecipeBase):
    """PCL by opening, see `napari_metastructure.labels.perturbed.opening`."""

    title: ClassVar[str] = "PCL: opening"
    family: ClassVar[Family] = "PCL"
    kind: Literal["open"] = "open"
    n: int = Field(2, ge=0, le=1000, description=f"{_STEPS} Erosions, then as many dilations.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import opening

        return opening(labels, self.n)


class Close(RecipeBase):
    """PCL by closing, see `napari_metastructure.labels.perturbed.closing`."""

    title: ClassVar[str] = "PCL: closing"
    family: ClassVar[Family] = "PCL"
    kind: Literal["close"] = "close"
    n: int = Field(2, ge=0, le=1000, description=f"{_STEPS} Dilations, then as many erosions.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import closing

        return closing(labels, self.n)


class PerturbObjects(RecipeBase):
    """PCL object by object, see `napari_metastructure.labels.perturbed.perturb_objects`."""

    title: ClassVar[str] = "PCL: objects dilated or eroded"
    family: ClassVar[Family] = "PCL"
    kind: Literal["objects"] = "objects"
    n: int = Field(2, ge=0, le=1000, description="Each object grows or shrinks by a random number of steps up to this.")

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.perturbed import perturb_objects

        return perturb_objects(labels, self.n, rng)


class DisplaceBoundary(RecipeBase):
    """PCL by displacement, see `napari_metastructure.labels.boundary.displace_boundary`."""

    title: ClassVar[str] = "PCL: boundary displaced"
    family: ClassVar[Family] = "PCL"
    kind: Literal["boundary"] = "boundary"
    amplitude: float = Field(3.0, ge=0, le=1000, description="How far boundaries move (rms), in pixels.")
    correlation: float = Field(
        20.0, gt=0, le=10_000, description="How far apart two places move on their own, in pixels."
    )

    def _noisy(self, labels: np.ndarray, rng: np.random.Generator, classes: tuple[int, ...]) -> np.ndarray:
        from napari_metastructure.labels.boundary import displace_boundary

        return displace_boundary(labels, self.amplitude, self.correlation, rng)
