"""Files of commands: results that lie beside their images, and options that exclude each other."""

import numpy as np
import pytest
import tifffile

from napari_metastructure.cli._files import without_results
from napari_metastructure.images.files import noting


def test_results_beside_their_images_are_no_images(tmp_path):
    for name in ("x.tif", "x_mask.tif", "x_probability.tif", "y_mask.tif", "z_mask.ome.tif", "z.ome.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((9, 9), np.uint8))
    with noting() as notes:
        names = [path.name for path in without_results([tmp_path])]
    assert names == ["x.tif", "y_mask.tif", "z.ome.tif"], "y_mask.tif has no image"
    assert len(notes) == 1 and "x_mask.tif and 2 more: passed over" in notes[0]
    with noting() as notes:
        assert [path.name for path in without_results([tmp_path / "x.tif", tmp_path / "x_mask.tif"])] == [
            "x.tif",
            "x_mask.tif",
        ]
    assert not notes, "what is named is taken"


@pytest.mark.parametrize("command", ["train", "igtt"])
def test_going_on_and_replacing_exclude_each_other(run, tmp_path, command):
    code, _, err = run(command, tmp_path, "--out", tmp_path / "out", "--resume", "--overwrite")
    assert code == 2 and "give one of them" in err
