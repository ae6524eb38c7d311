"""Several processes that train one network together, on one machine or more, as ``torchrun`` starts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from napari_metastructure.errors import InputError, MetastructureError, RunFailed
from napari_metastructure.training.control import Control, Stopped

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process that it starts, in its environment."""

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others: more than writing the results of a run takes, or reading its labels."""

PAUSE_SECONDS = 0.1
"""Between two looks at a run that is paused."""

SEEDS_APART = 1_000_003
"""Between the seeds of random layers such as dropout of two processes."""

_GO, _PAUSED, _STOPPED = range(3)


class Ranks:
    """The processes of a run, and which of them this one is; by default the only one.

    Each has all images and the whole network, and runs the same program: it draws the same random numbers, takes its
    share of each batch and of the images that are predicted, and what they find is added up or handed round. Only the
    first writes, prints and decides. `train` and `iterate` have to be called alike in all of them.

    Attributes
    ----------
    rank, size : int
        Which process this is, from 0, and how many there are.
    local : int
        Which one of its machine it is.
    alone : bool
        True if there is no other process to communicate with.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, store: Any = None) -> None:
        self.rank, self.size, self.local, self._store = rank, size, local, store
        self.alone = store is None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    # ---- what each takes --------------------------------------------------------------------------------

    def resolve(self, device: str) -> torch.device:
        """Return the device of this process: a GPU of its own, or the CPU; see `networks.device.resolve`.

        Raises
        ------
        InputError
            If there is no such device, or not one for each process.
        """
        import torch

        from napari_metastructure.networks.device import resolve

        if self.alone:
            return resolve(device)
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"Device {device!r} is one, and there are several processes; choose auto, cuda or cpu.")
        found = resolve("cpu" if device == "auto" and not torch.cuda.is_available() else device)
        if found.type != "cuda":
            return found
        if self.local >= (there := torch.cuda.device_count()):
            raise InputError(
                f"Process {self.local + 1} of a machine found no GPU of its own, for there are {there}; start one "
                f"process for each (--nproc-per-node {there}), or choose device cpu."
            )
        torch.cuda.set_device(self.local)
        return torch.device("cuda", self.local)

    def check_batch(self, batch: int) -> None:
        """Refuse a batch that has not a patch for each process."""
        if batch < self.size:
            raise InputError(
                f"Batches of {batch} cannot be shared out to {self.size} processes; set batch_size to {self.size} or "
                "more, or start fewer processes."
            )

    def share(self, count: int) -> tuple[int, int]:
        """Return the range (first, one past the last) of ``count`` pieces of this process, as even as possible."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def seed(self, seed: int) -> int:
        """Return another seed for each process, the given one for the first."""
        return seed + SEEDS_APART * self.rank

    # ---- what they find together ------------------------------------------------------------------------

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all processes; gradients come back from all of them."""
        if self.alone:
            return sums
        from napari_metastructure.training.shared_sums import total

        return total(sums)

    def from_first(self, make: Callable[[], T]) -> T:
        """Let the first process find or decide something, and tell it to all; what it raises, all raise."""
        if self.alone:
            return make()
        import torch

        box: list[Any] = [self._tried(make) if self.first else None]
        torch.distributed.broadcast_object_list(box, 0, device=torch.device("cpu"))
        value: T = _all_fine(box)[0]
        return value

    def together(self, work: Callable[[], T]) -> T:
        """Do the same in each process; what one raises, all raise."""
        if self.alone:
            return work()
        value, error = self._tried(work)
        _all_fine(self.gathered((None, error)))
        return value

    def shared_out(self, count: int, work: Callable[[Sequence[int]], Sequence[T]]) -> list[T]:
        """Share ``count`` pieces of work among the processes, and give all of them the results.

        Parameters
        ----------
        count : int
        work : callable
            Takes the numbers of some pieces, perhaps of none, and gives a result for each. What it raises in one
            process, all raise.
        """
        if self.alone:
            return list(work(range(count)))
        mine = range(self.rank, count, self.size)
        parts = _all_fine(self.gathered(self._tried(lambda: list(work(mine)))))
        return [parts[index % self.size][index // self.size] for index in range(count)]

    def checkpoint(self, control: Control) -> None:
        """Ask the controls of all processes, at a point that all of them come to: see `Control.checkpoint`."""
        if self.alone:
            control.checkpoint()
            return
        import torch

        began = time.perf_counter()
        while True:
            word = torch.tensor(_STOPPED if control.stopped else _PAUSED if control.paused else _GO)
            torch.distributed.all_reduce(word, torch.distributed.ReduceOp.MAX)
            if word == _STOPPED:
                raise Stopped
            if word == _GO:
                return
            time.sleep(PAUSE_SECONDS)
            control.paused_seconds += time.perf_counter() - began
            began = time.perf_counter()

    def stopping(self, control: Control) -> Callable[[], None]:
        """Return what work that is shared out calls in between: a stop ends it, a pause waits for the next batch."""

        def checkpoint() -> None:
            if control.stopped:
                raise Stopped

        return control.checkpoint if self.alone else checkpoint

    def _tried(self, work: Callable[[], Any]) -> tuple[Any, Exception | None]:
        try:
            return work(), None
        except (MetastructureError, Stopped) as error:
            return None, error.with_traceback(None)

    def gathered(self, value: T) -> list[T]:
        """Return what each process gives."""
        if self.alone:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    # ---- networks ---------------------------------------------------------------------------------------

    def synchronised(self, network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """Let batch normalisation take the mean and variance of the batches of all processes.

        CUDA has layers for that, which replace those of the network; elsewhere `statistics` does it.
        """
        from torch.nn.modules.batchnorm import _BatchNorm

        norms: list[Any] = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        if self.alone or not norms:
            return network
        if device.type == "cuda":
            from timm.layers import convert_sync_batchnorm  # torch's own would lose the activations in timm's layers

            converted: torch.nn.Module = convert_sync_batchnorm(network)
            return converted
        for norm in norms:
            norm.synchronised = True  # see `networks.build`
        return network

    def statistics(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context in which a network that is `synchronised` sees batches to train on."""
        if self.alone or device.type == "cuda":
            return nullcontext()
        from napari_metastructure.training.shared_sums import SharedStatistics

        return SharedStatistics()

    def parallel(self, network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """Wrap a network so that its gradients become the mean over all processes, and its weights are the first's.

        Of a loss of totals, whose gradients are the sum over all processes in each, that mean is the gradient of the
        whole batch.
        """
        if self.alone:
            return network
        from torch.nn.parallel import DistributedDataParallel

        ids = [device] if device.type == "cuda" else None
        return DistributedDataParallel(network, ids, static_graph=True)  # some encoders have layers that nothing uses

    # ---- ends -------------------------------------------------------------------------------------------

    @contextmanager
    def lost_fails(self) -> Iterator[None]:
        """Turn the loss of another process into a `RunFailed`."""
        try:
            yield
        except RuntimeError as error:
            if self.alone or not _is_loss(error):
                raise
            raise RunFailed(
                "Another process of this run has ended or is out of reach, so all end; --resume goes on with what was "
                "saved."
            ) from None

    def leave(self) -> None:
        """Wait for the others at the end of a run: torchrun ends all processes once one has ended badly."""
        with self.lost_fails():
            self.gathered(None)

    def speaks(self) -> bool:
        """Whether this process is the one that says why the run fails: the first to ask."""
        if self.alone:
            return True
        try:
            return int(self._store.add("metastructure/failed", 1)) == 1
        except RuntimeError:  # the store has ended with its process
            return True


ALONE = Ranks()
"""The only process there is."""


def _all_fine(results: Sequence[tuple[Any, Exception | None]]) -> list[Any]:
    for _, error in results:
        if error is not None:
            raise error
    return [value for value, _ in results]


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error of torch means that another process cannot be reached; gloo raises no type of its own."""
    from torch import distributed

    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in ("gloo", "nccl", "closed by peer"))


# ---- Processes that torchrun started ---------------------------------------------------------------------


def launched() -> bool:
    """Whether this process is one of several (or of one) that torchrun, or a program like it, started."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES)


def join() -> Ranks:
    """Join the other processes that torchrun started; `ALONE` where it did not.

    Raises
    ------
    InputError
        If they cannot be reached.
    """
    return _joined() if launched() else ALONE


@cache
def _joined() -> Ranks:
    import torch

    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        rank, size, local = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        store, _, _ = next(torch.distributed.rendezvous("env://", timeout=TIMEOUT))
        nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0][:200]
        raise InputError(
            f"The processes of this run cannot join at {where} ({why}); start them with torchrun, or without RANK, "
            "WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment."
        ) from error
    return Ranks(rank, size, local, store)


def speaks() -> bool:
    """Whether this process is the one that says why a command fails."""
    if not launched():
        return True
    return join().speaks() if _joined.cache_info().currsize else os.environ["RANK"] == "0"


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End one of several processes without taking torch down: its threads abort that now and then, or wait for ever."""
    try:
        yield
    except SystemExit as end:
        if not launched():
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else end.code is not None)


@contextmanager
def only_first_prints() -> Iterator[None]:
    """Keep what processes other than the first would print from the terminal."""
    if not launched() or os.environ["RANK"] == "0":
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
