#!/bin/sh
# Runs every test: installs what they need, then style, types and pytest. All steps run, also
# after one failed; the exit code and the last lines say what did.
#
#   sh tests/run.sh            everything
#   sh tests/run.sh pytest     only these steps (after a first full run)
#
# A step is a function step_NAME and its name in `steps`. Debian packages that tests need are
# in tests/apt-packages.txt.
set -u
cd "$(dirname "$0")/.."
steps="packages juce install plugin style types pytest"
venv="${STEMBRIDGE_VENV:-${VIRTUAL_ENV:-$PWD/.venv}}"
python="$venv/bin/python"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

step_packages() { # lines of the list: a package, and the command it is needed for, if any
    command -v apt-get >/dev/null || return 0
    missing=""
    while read -r package command _; do
        case "$package" in "" | \#*) continue ;; esac
        if [ -n "$command" ]; then
            command -v "$command" >/dev/null || missing="$missing $package"
        else
            dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
        fi
    done <tests/apt-packages.txt
    [ -n "$missing" ] || return 0
    echo "missing:$missing"
    as_root apt-get update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y --no-install-recommends $missing
}

step_juce() { # the sources alone: the package would pull GTK and WebKit in
    command -v apt-get >/dev/null || return 0
    ls /usr/lib/*/cmake/JUCE-7*/JUCEConfig.cmake >/dev/null 2>&1 && return 0
    folder=$(mktemp -d) && chmod 755 "$folder" &&
        (cd "$folder" && apt-get download juce-modules-source juce-modules-source-data) &&
        for package in "$folder"/*.deb; do as_root dpkg -x "$package" / || return 1; done
    rm -rf "$folder"
}

step_plugin() { # once, minutes; pytest only brings it up to date
    mkdir -p build
    cmake -S plugin -B build/plugin -G Ninja >build/plugin.log 2>&1 &&
        cmake --build build/plugin >>build/plugin.log 2>&1 || {
        tail -n 40 build/plugin.log
        return 1
    }
}

step_install() { STEMBRIDGE_VENV="$venv" sh bridge/install.sh test; }

step_style() {
    "$venv/bin/ruff" check bridge/stembridge tests && "$venv/bin/ruff" format --check bridge/stembridge tests
}

step_types() { "$venv/bin/pyright" --pythonpath "$python"; }

# Some tests drive real time, real hosts and real kills, which a busy machine can disturb. What
# failed runs once more, alone; both runs are printed, and what fails twice fails the whole.
step_pytest() {
    "$python" -m pytest && return 0
    printf '\n=== what failed, once more\n'
    "$python" -m pytest --last-failed --last-failed-no-failures none
}

failed=""
for step in ${*:-$steps}; do
    printf '\n=== %s\n' "$step"
    started=$(date +%s)
    "step_$step" || failed="$failed $step"
    printf '=== %s took %s s\n' "$step" "$(($(date +%s) - started))"
done
if [ -n "$failed" ]; then
    printf '\nFAILED:%s\n' "$failed"
    exit 1
fi
printf '\nAll passed.\n'
