#!/bin/sh
# Builds the Python module in place, next to the package's sources, for work on the tree:
#   native/build_dev.sh [python]
# The interpreter defaults to $PYTHON or python3; it needs pybind11, cmake and ninja beside it.
set -e
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-${PYTHON:-python3}}
build="$root/build/native-dev"
cmake -S "$root/native" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DSTEMBRIDGE_PYTHON=ON -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >/dev/null
cmake --build "$build" --target _native
# A module that is in use must not be overwritten in place: replace the name instead.
for module in "$build"/_native*.so; do
    cp "$module" "$root/bridge/stembridge/.$(basename "$module").new"
    mv "$root/bridge/stembridge/.$(basename "$module").new" \
        "$root/bridge/stembridge/$(basename "$module")"
done
