#!/usr/bin/env bash
# The wheels that the GPU check (docs/gpu.md) needs on a bare Linux machine (x86_64, CPython 3.12), into one folder.
#   scripts/gpu_wheels.sh DIR
# The machine is taken to have what PRESENT names, and nothing to download from. PYTHON: whose pip downloads.
set -euo pipefail

out=${1:?Usage: scripts/gpu_wheels.sh DIR}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-$([[ -x $root/.venv/bin/python ]] && echo "$root/.venv/bin/python" || command -v python3)}
PRESENT="torch torchvision numpy scipy scikit-image tifffile timm typer rich psutil pyyaml pillow matplotlib safetensors"
PRESENT+=" huggingface-hub tqdm" # timm needs the one, and that the other
MOST=$((40 * 2 ** 20))

mkdir -p "$out"
if compgen -G "$out/*.whl" >/dev/null; then
  echo "$out holds wheels already; choose an empty folder, for of two versions of one library either might be used." >&2
  exit 1
fi

download() {
  "$PYTHON" -m pip download --disable-pip-version-check -q --no-deps --only-binary=:all: --dest "$out" \
    --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any "$@"
}

# pydantic names one version of its core, so that comes after it.
download segmentation-models-pytorch threadpoolctl pydantic annotated-types typing-extensions typing-inspection
core=$("$PYTHON" - "$out"/pydantic-*.whl <<'PYTHON'
import re, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
(facts,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
print(re.search(r"^Requires-Dist: pydantic-core *(==[\w.]+)", facts, re.MULTILINE)[1])
PYTHON
)
download "pydantic-core$core"

"$PYTHON" - "$out" "$MOST" $PRESENT <<'PYTHON'
"""Nothing is missing, everything fits CPython 3.12, and the folder is small enough to be carried."""

import re
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

folder, most, present = Path(sys.argv[1]), int(sys.argv[2]), set(sys.argv[3:])
wheels = sorted(folder.glob("*.whl"))
here, needed = set(), {}
for wheel in wheels:
    if not re.search(r"-(cp312-cp312|cp3\d+-abi3)-manylinux\w+x86_64[\w.]*\.whl$|-py3-none-any\.whl$", wheel.name):
        sys.exit(f"{wheel.name} is not for Linux x86_64 and CPython 3.12.")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        facts = message_from_bytes(archive.read(name))
    here.add(re.sub(r"[-_.]+", "-", facts["Name"]).lower())
    for line in facts.get_all("Requires-Dist", []):
        if "extra ==" not in line:
            needed[re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower()] = wheel.name
missing = set(needed) - here - present
if missing:
    sys.exit("Not in the folder: " + ", ".join(f"{name}, which {needed[name]} needs" for name in sorted(missing)) + ".")
size = sum(wheel.stat().st_size for wheel in wheels)
for wheel in wheels:
    print(f"{wheel.stat().st_size / 2**20:6.2f} MiB  {wheel.name}")
if size > most:
    sys.exit(f"{folder} holds {size / 2**20:.1f} MiB of wheels, more than the {most / 2**20:.0f} MiB that may travel.")
print(f"{size / 2**20:6.2f} MiB in {folder}, of {most / 2**20:.0f} MiB that may travel")
PYTHON
