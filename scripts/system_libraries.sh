#!/usr/bin/env bash
# Make sure the system libraries that Qt (and a headless screen) need are there.
# As root on Debian or Ubuntu they are installed; otherwise the line to run is printed, and this fails.
#   scripts/system_libraries.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
libraries=(
  libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
  libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libxcb-cursor0 libfontconfig1 libglib2.0-0 fonts-dejavu-core
)
[[ -n ${DISPLAY:-}${WAYLAND_DISPLAY:-} && -z ${NEEDS_XVFB:-} ]] || libraries+=(xvfb xauth)

if ! command -v dpkg-query >/dev/null; then # not Debian: Qt's wheels bring all that Windows and macOS need
  [[ -n ${DISPLAY:-}${WAYLAND_DISPLAY:-} || $(uname) != Linux ]] || command -v xvfb-run >/dev/null ||
    { echo "No display and no xvfb-run: install Xvfb with your system's package manager." >&2; exit 1; }
  exit 0
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then libraries+=(python3-venv); fi

# Newer releases rename some packages (libglib2.0-0t64) and say which name they provide.
there=" $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}, ${Provides}\n' | sed -n 's/^ii *//p' |
  sed -E 's/\([^)]*\)//g' | tr -s ', \n' ' ') "
missing=()
for library in "${libraries[@]}"; do [[ $there == *" $library "* ]] || missing+=("$library"); done
((${#missing[@]})) || exit 0

if [[ $(id -u) == 0 ]]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
  printf 'Qt needs system libraries that are missing. Run this, then try again:\n\n' >&2
  printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n\n' "${missing[*]}" >&2
  exit 1
fi
