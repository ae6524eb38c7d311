#!/usr/bin/env bash
# Build sdist and wheel, install the wheel in a clean environment, and use it there from an empty folder:
# manifest, entry points, samples. The dependencies are borrowed from VENV, so that this takes seconds.
#   scripts/check_wheel.sh [VENV]
set -euo pipefail

venv=$(cd "${1:-.venv}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Isolated as on a build server: the wheel is built from the sdist, so the sdist is whole too.
"$venv/bin/python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { tail -30 "$work/build.log"; exit 1; }
ls -l "$work"/dist | awk 'NR > 1 { print $5, $9 }'

"$venv/bin/python" -m venv "$work/clean"
"$work/clean/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-index "$work"/dist/*.whl
# VENV's libraries come last on the path; its editable install of the sources hangs on a .pth file that only VENV reads.
paths='import sysconfig; print(sysconfig.get_paths()["purelib"])'
"$venv/bin/python" -c "$paths" >"$("$work/clean/bin/python" -c "$paths")/borrowed.pth"

cd "$work"
"$work/clean/bin/python" - "$work/clean" <<'PYTHON'
import sys
from importlib.metadata import distribution
from pathlib import Path

import npe2

import napari_metastructure
from napari_metastructure.plugin import samples

clean = Path(sys.argv[1]).resolve()
name = "napari-metastructure"
assert clean in Path(napari_metastructure.__file__).resolve().parents, napari_metastructure.__file__
assert clean in samples.sample_folder().resolve().parents, samples.sample_folder()

manifest = npe2.PluginManifest.from_distribution(name)
manager = npe2.PluginManager()
manager.register(manifest)
manager.activate(name)
for sample in manifest.contributions.sample_data:
    for data, attributes, kind in sample.open(_registry=manager.commands):
        assert kind in ("image", "labels", "points") and data.ndim >= 2, (sample.key, kind)
        if "mask" in attributes.get("metadata", {}):
            assert Path(attributes["metadata"]["mask"]).is_file(), attributes
        print(f"sample {sample.key}: {attributes['name']}, {kind} {data.shape} {data.dtype}")
for widget in manifest.contributions.widgets:
    print(f"widget {widget.display_name}")
for writer in manifest.contributions.writers:
    print(f"writer {writer.display_name}: {' '.join(writer.filename_extensions)}")

installed = distribution(name)
(script,) = [entry for entry in installed.entry_points if entry.group == "console_scripts"]
assert callable(script.load())
files = {str(file) for file in installed.files}
for wanted in ("napari.yaml", "py.typed", "sample_data/README.md", "igtt/prior.safetensors", "igtt/polarity.safetensors"):
    assert f"napari_metastructure/{wanted}" in files, wanted
print(f"wheel {installed.version}: {len(files)} files, fine")
PYTHON
"$work/clean/bin/python" -m npe2 validate napari-metastructure
"$work/clean/bin/metastructure" --help >/dev/null
echo "make wheel-check: passed"
