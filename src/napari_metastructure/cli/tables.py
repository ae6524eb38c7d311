"""Tables of numbers in the terminal, as ``metastructure score`` prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence

ABSENT = "-"


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], last: Sequence[str] | None = None) -> None:
    """Print rows under their heads, names left and numbers right; the last one set off from the others."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column(Text(heads[0]))
    for head in heads[1:]:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    if last is not None:
        table.add_section()
        table.add_row(*map(Text, last))
    Console().print(table)


def number(value: float | None, digits: int = 4) -> str:
    """A number with that many digits behind the point; a dash for none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"
