"""Peak memory of blocks that take a known amount."""

import threading

import numpy as np
import pytest

from napari_metastructure.baselines.memory import PeakMemory

SIZE = 100_000_000
SLACK = 0.2 * SIZE
"""What else the process takes and gives back meanwhile."""


def hundred_megabytes():
    return np.ones(SIZE, np.uint8)  # ones: pages that nobody writes to are not there yet


def test_what_is_held_is_counted():
    with PeakMemory() as memory:
        held = hundred_megabytes()
    assert memory.bytes == pytest.approx(SIZE, abs=SLACK)
    assert held.nbytes == SIZE


def test_the_peak_counts_and_not_the_end():
    with PeakMemory() as memory:
        for _ in range(3):
            hundred_megabytes().sum()
    assert memory.bytes == pytest.approx(SIZE, abs=SLACK)


def test_what_was_there_before_does_not_count():
    held = hundred_megabytes()
    with PeakMemory() as memory:
        held += 1
    assert memory.bytes < SLACK


def test_it_ends_with_the_block_also_where_that_fails():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), PeakMemory() as memory:
        assert threading.active_count() == before + 1
        held = hundred_megabytes()
        held.nbytes // 0
    assert threading.active_count() == before
    assert memory.bytes == pytest.approx(SIZE, abs=SLACK)


def test_memory_of_a_gpu_is_added():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    torch.zeros(1, device="cuda:0")
    with PeakMemory("cuda:0") as memory:
        torch.ones(SIZE, dtype=torch.uint8, device="cuda:0").sum().item()
    assert memory.bytes >= SIZE
