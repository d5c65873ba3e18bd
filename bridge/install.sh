#!/bin/sh
# Installs Stembridge from this source tree into a virtual environment, on Debian, Ubuntu and
# the like, with as little as possible: a CPU build of torch where there is no NVIDIA GPU.
#
#   sh bridge/install.sh               into .venv of this folder, or the active environment
#   sh bridge/install.sh test plot     with these extras
#
# PYTHON names the interpreter, STEMBRIDGE_VENV another folder for the environment. Run again
# it changes only what is missing or new. Nothing is installed outside the environment, but
# the Debian packages for venv and the compiler if they are missing.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nstembridge: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        fail "These need the administrator: $*"
    fi
}

debian_install() {
    command -v apt-get >/dev/null || fail "Please install: $*"
    say "Installing $*"
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y --no-install-recommends "$@" ||
        { as_root apt-get update && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y \
            --no-install-recommends "$@"; }
}

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
                2>/dev/null && { echo "$candidate"; return; }
    done
    return 1
}

venv="${STEMBRIDGE_VENV:-${VIRTUAL_ENV:-$PWD/.venv}}"
if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python) || fail "Python 3.11 or 3.12 is needed. Install it, or name it: PYTHON=…"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        debian_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    say "Making the environment $venv"
    "$python" -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
command -v c++ >/dev/null || debian_install g++
"$venv/bin/python" - <<'END' 2>/dev/null || { [ "$(uname)" = Linux ] && debian_install python3-dev; }
import sysconfig, pathlib
assert pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()
END

# Plain pip takes torch with CUDA, several GB. The CPU build is an eighth of that, and
# nothing else is fetched if a torch of the right version is there already.
torch_is_there() {
    "$venv/bin/python" - <<'END' 2>/dev/null
from importlib.metadata import version
major, minor = map(int, version("torch").split("+")[0].split(".")[:2])
assert (2, 6) <= (major, minor) < (2, 14)
END
}
if ! torch_is_there; then
    cpu_torch="torch==2.13.0+cpu"
    cpu_index=https://download.pytorch.org/whl/cpu
    if [ "$(uname)" != Linux ] || [ -e /dev/nvidia0 ]; then
        say "Installing torch"
        pip install "torch>=2.6,<2.14"
    else
        say "Installing torch, the CPU build"
        pip install "$cpu_torch" 2>/dev/null ||
            pip install "$cpu_torch" --extra-index-url "$cpu_index" ||
            fail "The CPU build of torch was not found. Install any torch from 2.6 on, then run this again."
    fi
fi

extras=$(echo "$*" | tr ' ' ',')
say "Installing Stembridge"
pip install ".${extras:+[$extras]}"
say "Ready: $venv/bin/stembridge"
