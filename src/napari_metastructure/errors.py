"""The two errors a user may meet; each carries one sentence that says what is wrong and what to do."""


class MetastructureError(Exception):
    """Base of every error this package raises on purpose.

    It is no `RuntimeError`: napari's generator workers swallow those silently.
    """


class InputError(MetastructureError, ValueError):
    """A file, layer or option cannot be used; the message names it and says what to do."""


class RunFailed(MetastructureError):
    """A run broke down after it had started; what was saved before stays."""
