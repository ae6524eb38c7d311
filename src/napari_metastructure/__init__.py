"""Segment microscopy images without labels, and explore how networks learn from noisy ones.

The floors below ``plugin`` (``images``, ``networks``, ``training``, ``igtt``, ``cli``) know neither
napari nor Qt and can be used from a script or notebook.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-metastructure")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
