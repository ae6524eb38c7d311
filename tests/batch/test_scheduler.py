"""Batches shared out by dask.distributed: to the same bits, whatever dies."""

import os
import signal
import socket
import sys

import pytest
import torch

from napari_metastructure import __version__
from napari_metastructure.batch import predict, scheduler
from napari_metastructure.batch.run import UnitDone, UnitFailed, run
from napari_metastructure.errors import InputError, RunFailed

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")


@pytest.fixture(scope="module")
def client():
    """Two worker processes of this machine, as ``local:2`` starts them."""
    with scheduler._client("local:2") as made:
        yield made


@pytest.fixture(scope="module")
def address(client):
    return client.scheduler.address


@pytest.fixture(autouse=True)
def one_thread():
    """As workers have: bits depend on the number of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_workers_give_the_bits_of_one_process_though_one_is_killed(
    recipe, go, same, client, address, tmp_path, monkeypatch
):
    monkeypatch.setattr(predict, "TILES", 20)
    go(recipe(out=tmp_path / "here"))
    pids = list(client.run(os.getpid).values())
    events, killed = [], False
    for event in run(recipe(scheduler=address)):
        events.append(event)
        if isinstance(event, UnitDone) and not killed:
            killed = True
            os.kill(pids[0], signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    assert killed
    assert f"2 workers of {address}" in events[0].where
    last = events[-1]
    assert (last.done, last.failed) == (4, 1)
    (failed,) = (event for event in events if isinstance(event, UnitFailed))
    assert "torn.tif is cut short" in failed.why
    assert same(tmp_path / "here", tmp_path / "out") == 8
    assert not list((tmp_path / "out").glob(".*"))


def test_large_files_are_shared_out_by_tiles(recipe, images, address):
    """A tile is 32 pixels: the large image is 99 of them, the stack 30 planes of 4."""
    task = recipe(images / "large.tif", scheduler=address)
    older = task.out / "large_mask.ome.tif"
    older.parent.mkdir(exist_ok=True)
    older.touch()
    shares = [event.share for event in run(task, overwrite=True) if hasattr(event, "share")]
    assert not older.exists()  # as after a file that is done in one piece
    parts = {round(share * 4) for share in shares if share * 4 == round(share * 4)}
    assert {1, 2, 3, 4} <= parts


def test_what_is_done_is_not_sent_again(recipe, go, address):
    first = go(recipe(scheduler=address))[-1]
    again = go(recipe(), resume=True)[-1]
    assert (first.done, again.settled, again.done) == (4, 4, 0)


def test_a_scheduler_that_is_not_there(recipe, go, monkeypatch, tmp_path):
    monkeypatch.setattr(scheduler, "PATIENCE", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(InputError, match=f"No scheduler answers at {nobody}"):
            go(recipe(scheduler=nobody))
    assert not list((tmp_path / "out").iterdir())


def test_more_workers_than_the_machine_can_bear(recipe, go, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(InputError, match="'local:9' would start 9 processes on a machine of 2 cores; take 8 at most"):
        go(recipe(scheduler="local:9"))
    assert not list((tmp_path / "out").iterdir())


def test_workers_of_another_version_are_refused(recipe, go, address, monkeypatch):
    monkeypatch.setattr(scheduler, "__version__", "0.0.1")
    with pytest.raises(InputError, match=f"has napari-metastructure {__version__.replace('+', '.')}, this is 0.0.1"):
        go(recipe(scheduler=address))


def test_workers_of_another_python_are_refused(recipe, go, address, monkeypatch):
    monkeypatch.setattr(scheduler, "python_version", lambda: "2.7.18")
    with pytest.raises(InputError, match=r"runs Python 3\.\d+\.\d+, this is 2\.7\.18"):
        go(recipe(scheduler=address))


def test_workers_that_do_not_see_the_folders_are_named(tmp_path):
    facts = scheduler.check_worker([tmp_path, tmp_path / "elsewhere"], tmp_path / "token")
    assert f"does not see {tmp_path / 'elsewhere'}" in facts["why"]
    assert "of this machine" in scheduler.check_worker([tmp_path], tmp_path / "token")["why"]
    (tmp_path / "token").touch()
    assert scheduler.check_worker([tmp_path], tmp_path / "token") == {"version": __version__, "why": ""}


def test_without_the_extra_one_sentence_says_what_to_install(recipe, go, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install \"napari-metastructure\[cluster\]\""):
        go(recipe(scheduler="local:2"))


@pytest.mark.parametrize("error", [RuntimeError("Nanny failed to start."), OSError(11, "no more processes")])
def test_processes_that_do_not_start_are_one_sentence(recipe, go, monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr("distributed.LocalCluster", fail)
    with pytest.raises(RunFailed, match=r"The 2 processes of local:2 do not start .*take fewer"):
        go(recipe(scheduler="local:2"))
