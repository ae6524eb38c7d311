"""What once ended the process, or made it speak after its end: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import faulthandler
import os
import sys
os.environ["NAPARI_CONFIG"] = ""
faulthandler.enable()
import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from napari_metastructure.igtt.config import IGTTConfig

PLUGIN = "napari-metastructure"
rng = np.random.default_rng(0)

def turns(milliseconds=100):
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()

def until(done):
    while not done():
        turns(20)

def blobs():
    y, x = np.mgrid[:64, :64]
    return rng.normal(100, 5, (64, 64)) + 120 * np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 40)

def dock(viewer, name):
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]

def tiny(widget, epochs):
    widget.settings.fill(IGTTConfig(
        epochs=epochs, steps_per_epoch=2, batch_size=1, base_channels=4, patch_size=64, objects="bright",
        stop_agreement=1.0, device="cpu",
    ))

viewer = napari.Viewer()
"""


def in_its_own_process(body: str) -> None:
    """Run it in a visible window: it has to end well, and leave nothing on stderr that is an error."""
    script = BEGIN + textwrap.dedent(body) + '\nprint("to the end", flush=True)\n'
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "to the end" in done.stdout
    assert "Traceback" not in done.stderr, done.stderr[-2000:]


@pytest.mark.usefixtures("qapp")
def test_layers_cleared_one_added_and_run_pressed_in_one_turn():
    in_its_own_process(
        """
        viewer.add_image(blobs(), name="first")
        widget = dock(viewer, "iGTT (segment without labels)")
        tiny(widget, 1)
        turns()
        assert widget.start()
        until(lambda: not widget.running)
        for number in range(3):
            viewer.layers.clear()
            viewer.add_image(blobs(), name=f"image {number}")
            assert widget.start()
            until(lambda: not widget.running)
            turns()
            assert f"image {number} iGTT masks" in viewer.layers
        viewer.close()
        """
    )


@pytest.mark.usefixtures("qapp")
def test_masks_deleted_the_moment_they_are_added():
    in_its_own_process(
        """
        viewer.add_image(blobs(), name="image")
        widget = dock(viewer, "iGTT (segment without labels)")
        tiny(widget, 2)
        turns()

        def on_inserted(event):
            if "masks" in event.value.name:
                viewer.layers.remove(event.value)

        viewer.layers.events.inserted.connect(on_inserted)
        assert widget.start()
        until(lambda: not widget.running)
        assert "'image iGTT masks' was removed" in widget.progress.status.text(), widget.progress.status.text()
        viewer.close()
        """
    )


@pytest.mark.usefixtures("qapp")
def test_a_viewer_closed_while_noise_and_density_are_live():
    in_its_own_process(
        """
        labels = viewer.add_labels(np.kron(np.eye(4, dtype=np.uint8), np.ones((256, 256), np.uint8)))
        noise, density = dock(viewer, "Label noise (RCL, PCL, RL)"), dock(viewer, "Meta-structure density")
        noise.set_source(labels)
        turns(300)
        noise.seed.setValue(7)
        density.live.refresh()
        turns(5)
        assert noise.busy and density.busy
        viewer.close()
        """
    )


@pytest.mark.usefixtures("qapp")
def test_a_widget_that_python_cleared_before_qt_deletes_it():
    in_its_own_process(
        """
        import gc
        import threading
        from qtpy.QtCore import QObject
        from qtpy.QtWidgets import QWidget
        from napari_metastructure.plugin._layers import ReleaseOnClose

        class Widget(QWidget):
            def __init__(self):
                super().__init__()
                self.itself, self.part = self, QObject(self)
                self.part.widget = self
                for thing in (self, self.part):
                    thing.releases = ReleaseOnClose(thing)
                    thing.releases.add(self.end)

            def end(self):
                pass

        gc.disable()  # it comes when it likes, and in any thread
        for _ in range(20):
            Widget()
            collecting = threading.Thread(target=gc.collect)
            collecting.start()
            collecting.join()
            turns(1)
        viewer.close()
        """
    )


@pytest.mark.usefixtures("qapp")
def test_skeletons_beside_the_canvas_and_a_window_closed_while_measuring():
    """Skeletons bring a second LLVM, by numba, beside that of OpenGL in software."""
    pytest.importorskip("skan")
    in_its_own_process(
        """
        labels = viewer.add_labels(np.eye(40, dtype=np.uint8))
        widget = dock(viewer, "Clean up and measure")
        widget.skeleton.setChecked(True)
        assert widget.measure()
        until(lambda: not widget.run.running)
        assert widget.table.columns["skeleton length"].sum() > 0
        labels.data = np.kron(np.eye(90, dtype=np.uint8)[::2].repeat(2, 0), np.eye(6, dtype=np.uint8))
        widget.smallest_object.setValue(30)
        assert widget.measure()
        viewer.close()
        turns(500)
        """
    )


def test_qt_converts_pictures_while_each_core_works_for_us():
    """Qt shares that out to the pool that jobs run in, and waits for it with Python's lock in hand."""
    in_its_own_process("""
        from qtpy.QtCore import QThreadPool
        from qtpy.QtGui import QImage
        from napari_metastructure.plugin._worker import LatestOnly

        QThreadPool.globalInstance().setMaxThreadCount(2)
        ended = []

        def work():
            while not ended:
                sum(range(1000))

        jobs = [LatestOnly(), LatestOnly()]
        for job in jobs:
            job.ask(work)
        turns()
        picture = QImage(2000, 2000, QImage.Format.Format_RGB16)
        for _ in range(20):
            picture.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        ended.append(True)
        until(lambda: not any(job.busy for job in jobs))
        viewer.close()
    """)


@pytest.mark.parametrize("first", ["torch_beside_a_window", "warm_up"])
def test_a_thread_that_imported_torch_takes_another_job(first):
    """Older releases of torch keep what Python knew of the thread that imported them."""
    in_its_own_process(f"""
        import threading
        from napari_metastructure.plugin import _worker

        def job():
            import torch
            return torch.from_numpy(np.zeros(3)).sum().item()

        def answer(work):
            latest, answers = _worker.LatestOnly(), []
            latest.done.connect(answers.append)
            latest.failed.connect(answers.append)
            latest.ask(work)
            until(lambda: answers)
            return answers[0]

        importers = set()

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "torch":
                    importers.add(type(threading.current_thread()))

        sys.meta_path.insert(0, Watch())
        assert "torch" not in sys.modules
        answer(_worker.{first})
        assert importers == {{threading.Thread}}, importers
        still = threading.Event()
        others = [threading.Thread(target=still.wait) for _ in range(3)]  # they take the memory that Python has freed
        for other in others:
            other.start()
        assert answer(job) == 0
        still.set()
        viewer.close()
    """)
