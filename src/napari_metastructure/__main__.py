"""The program ``metastructure``, also as ``python -m napari_metastructure``."""

import os
import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is imported, which takes a second, ends it without a word."""
    # Not an exception: raised inside a library that is being imported it may be turned into another.
    mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if mine:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from napari_metastructure.cli.main import main as run

    if mine:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
