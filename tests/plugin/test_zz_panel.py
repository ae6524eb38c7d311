import gc, weakref
import numpy as np, pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QDockWidget
LONG={"epochs":1000,"start":"otsu"} 

def dock_of(w):
    p=w
    while not isinstance(p,QDockWidget): p=p.parent()
    return p
def close_button(d):
    return d.title.close_button
@pytest.mark.parametrize("floating",[False,True])
@pytest.mark.parametrize("answer",["No","Yes"])
def test_x(open_widget, blobs, qtbot, monkeypatch, answer, floating):
    viewer, widget = open_widget(blobs(), window=True, show=True, config={"epochs":1000})
    d=dock_of(widget); asked=[]
    monkeypatch.setattr(QMessageBox,"question",lambda *a: asked.append(a[2]) or getattr(QMessageBox.StandardButton,answer))
    if floating: d.setFloating(True)
    assert widget.start(); qtbot.waitUntil(lambda: bool(widget.layers and widget.layers.epochs))
    qtbot.mouseClick(close_button(d), Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    print(asked)
    assert len(asked)==1
    if answer=="No":
        assert widget.running and dock_of(widget) is d
        viewer.close(); assert len(asked)==1
    qtbot.waitUntil(lambda: not widget.running)

def test_finished(open_widget, blobs, run, qtbot, monkeypatch):
    viewer, widget = open_widget(blobs(), window=True, show=True)
    asked=[]; monkeypatch.setattr(QMessageBox,"question",lambda *a: asked.append(a[2]) or QMessageBox.StandardButton.No)
    run(widget); d=dock_of(widget)
    qtbot.mouseClick(close_button(d), Qt.MouseButton.LeftButton); QApplication.processEvents()
    assert not asked and widget.parent() is None

@pytest.mark.parametrize("how",["job ends","viewer closes","dock removed"])
@pytest.mark.parametrize("answer",["Yes","No"])
def test_while_asked(open_widget, blobs, qtbot, monkeypatch, how, answer):
    viewer, widget = open_widget(blobs(), window=True, show=True, config={"epochs":1000})
    d=dock_of(widget); seen=[]
    assert widget.start(); qtbot.waitUntil(lambda: bool(widget.layers and widget.layers.epochs))
    def later():
        box=QApplication.activeModalWidget(); seen.append(box)
        if how=="job ends":
            widget.stop(); qtbot.waitUntil(lambda: not widget.running)
        elif how=="viewer closes": viewer.close()
        else: viewer.window.remove_dock_widget(widget)
        box=QApplication.activeModalWidget()
        print("box still there:",box)
        if box is not None: qtbot.mouseClick(box.button(getattr(QMessageBox.StandardButton,answer)), Qt.MouseButton.LeftButton)
    QTimer.singleShot(300, later)
    qtbot.mouseClick(close_button(d), Qt.MouseButton.LeftButton)
    QApplication.processEvents(); assert len(seen)==1 and seen[0] is not None
    qtbot.waitUntil(lambda: not widget.running)

def test_again_after_stop(open_widget, blobs, qtbot, run, monkeypatch):
    images=[blobs(i) for i in range(3)]
    from napari_metastructure.igtt import iterate as it
    viewer, widget = open_widget(*images, window=True, config={"epochs":2})
    old=it.check_planes
    assert widget.start(); widget.stop(); qtbot.waitUntil(lambda: not widget.running)
    print([l.name for l in viewer.layers], widget.failure, widget.summary())
    run(widget); n=[l.name for l in viewer.layers]; print(n)
    run(widget); n2=[l.name for l in viewer.layers]; print(n2)
    assert n==n2
    viewer.layers["a mask"] if "a mask" in n else None
