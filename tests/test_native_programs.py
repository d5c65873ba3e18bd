"""Builds the native library alone, as the plugin does, and runs its test programs: the plain
ones, the real-time guard, and the same under sanitizers. Build folders are kept in `build/`."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS = "install them with apt-get install cmake ninja-build g++"


def tool(*names: str) -> str:
    beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    for name in names:
        if path := shutil.which(name, path=beside):
            return path
    pytest.fail(f"none of {', '.join(names)} is here: {NEEDS}")


@functools.cache
def built(sanitize: str) -> Path:
    """Configures and builds the test programs; returns their folder. Warnings are errors."""
    folder = ROOT / "build" / f"native-tests-{sanitize.replace(',', '-') or 'plain'}"
    commands = [
        [
            *(tool("cmake"), "-S", str(ROOT / "native"), "-B", str(folder), "-G", "Ninja"),
            *(
                "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                f"-DCMAKE_CXX_COMPILER={tool('g++', 'clang++')}",
            ),
            *("-DSTEMBRIDGE_TESTS=ON", "-DSTEMBRIDGE_WERROR=ON", "-DSTEMBRIDGE_PYTHON=OFF"),
            *(f"-DSTEMBRIDGE_SANITIZE={sanitize}", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"),
        ],
        [tool("cmake"), "--build", str(folder)],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{NEEDS}"
    return folder / "tests"


def run(sanitize: str, program: str, *args: str) -> str:
    command = [str(built(sanitize) / program), *args]
    if sanitize == "thread" and (setarch := shutil.which("setarch")):
        # Its shadow memory needs a plain address layout on kernels with much randomisation.
        plain = [setarch, "--addr-no-randomize"]
        if subprocess.run([*plain, "true"], capture_output=True).returncode == 0:
            command = [*plain, *command]
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, f"{program} {sanitize}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_audio_thread_never_allocates_locks_or_calls_the_kernel():
    """The guard first shows that it sees an allocation, a lock and a system call."""
    told = run("", "realtime_guard", "2000")
    assert "nobody waits: 0 allocations, 0 locks, 0 system calls" in told
    assert "a server sleeps on the bell: 0 allocations, 0 locks, 0 system calls" in told


@pytest.mark.parametrize("sanitize", ["", "address,undefined"])
def test_the_mixing_loops_agree_with_plain_arithmetic(sanitize):
    run(sanitize, "mixing_oracle")


@pytest.mark.parametrize("sanitize", ["", "thread", "address,undefined"])
def test_both_ends_race_without_a_data_race_or_a_misplaced_sample(sanitize):
    run(sanitize, "ring_race", "2000")


@pytest.mark.parametrize(("sanitize", "rounds"), [("", "500"), ("address,undefined", "250")])
def test_random_bytes_over_a_live_link_are_an_error_or_noise(sanitize, rounds):
    for seed in ("1", "2"):
        run(sanitize, "fuzz_link", rounds, seed)
