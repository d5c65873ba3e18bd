"""Build the DAW plugin from its sources, and say clearly what is missing for that.

The plugin is built on the machine that uses it, on demand, and not carried in the wheel: a
JUCE build links the system's X11, freetype and libpng, so a binary from one distribution
does not load on the next, and installing the Python package must not need a desktop's
headers. The sources (a few hundred kilobytes) travel in the wheel instead; in a clone they
are beside the package. The build needs no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import NotAvailableError

JUCE_VERSION = "7.0"
FULL_BUILD_MINUTES = 4
_HEADERS = {  # pkg-config name: Debian package
    "freetype2": "libfreetype-dev",
    "x11": "libx11-dev",
    "xext": "libxext-dev",
    "xinerama": "libxinerama-dev",
    "xrandr": "libxrandr-dev",
    "xcursor": "libxcursor-dev",
    "libpng": "libpng-dev",
    "libjpeg": "libjpeg62-turbo-dev",
    "zlib": "zlib1g-dev",
}


@dataclass(frozen=True)
class Missing:
    """Something that the build needs and that is not here."""

    name: str
    install: str


def source_folder(chosen: Path | None = None) -> Path:
    """The folder that holds `plugin/`, `native/` and `presets/`: chosen, clone or wheel.

    Raises:
        NotAvailableError: there are no sources there; says what to do.
    """
    here = Path(__file__).resolve().parent
    candidates = [chosen] if chosen is not None else [here.parents[1], here / "plugin_source"]
    for folder in candidates:
        if all((folder / part / "CMakeLists.txt").is_file() for part in ("plugin", "native")):
            return folder.resolve()
    where = f"in {str(chosen)!r}" if chosen is not None else "in this installation"
    raise NotAvailableError(
        f"The plugin's sources are not {where}. Clone Stembridge's repository and run: "
        "stembridge plugin install --source FOLDER"
    )


def find_juce(chosen: Path | None = None) -> Path | None:
    """An unpacked JUCE (chosen), or the CMake folder of the packaged one; None if neither."""
    if chosen is not None:
        return chosen if (chosen / "modules/juce_core/juce_core.h").is_file() else None
    roots = [Path("/usr/lib"), Path("/usr/local/lib"), Path("/usr/lib64")]
    for root in roots:
        for config in _cmake_configs(root):
            return config.parent
    return None


def _cmake_configs(root: Path) -> Iterator[Path]:
    for pattern in (f"cmake/JUCE-{JUCE_VERSION}*", f"*/cmake/JUCE-{JUCE_VERSION}*"):
        for folder in root.glob(pattern):
            yield from folder.glob("JUCEConfig.cmake")


def missing(juce: Path | None = None) -> list[Missing]:
    """What has to be installed before `build` can work; empty when all is here."""
    lacks = []
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            package = {"ninja": "ninja-build"}.get(tool, tool)
            lacks.append(Missing(tool, f"apt-get install {package} (or: pip install {tool})"))
    compilers = ("c++", "g++", "clang++", "cl")
    if os.environ.get("CXX") is None and not any(shutil.which(name) for name in compilers):
        lacks.append(Missing("a C++17 compiler", "apt-get install g++"))
    if find_juce(juce) is None:
        how = "apt-get install juce-modules-source, or --juce FOLDER of an unpacked JUCE 7.0.x"
        if juce is not None:
            how = f"unpack JUCE 7.0.x there ({str(juce)!r} holds no modules/juce_core)"
        lacks.append(Missing("JUCE 7", how))
    if sys.platform.startswith("linux"):
        lacks += _missing_headers()
    return lacks


def _missing_headers() -> list[Missing]:
    if shutil.which("pkg-config") is None:
        return [Missing("pkg-config", "apt-get install pkg-config")]
    return [
        Missing(f"headers of {name}", f"apt-get install {package}")
        for name, package in _HEADERS.items()
        if subprocess.run(["pkg-config", "--exists", name], check=False).returncode != 0
    ]


def explain(lacks: list[Missing]) -> str:
    """The list for people: what is missing and the one command, where there is one."""
    lines = [f"  {one.name}: {one.install}" for one in lacks]
    packages = [
        word
        for one in lacks
        if one.install.startswith("apt-get install ")
        for word in [one.install.removeprefix("apt-get install ").split()[0].rstrip(",")]
    ]
    text = "The plugin cannot be built yet. Missing:\n" + "\n".join(lines)
    if packages and sys.platform.startswith("linux"):
        text += (
            "\nOn Debian and Ubuntu, all at once: sudo apt-get install --no-install-recommends "
            + " ".join(dict.fromkeys(packages))
        )
    return text


def build(
    source: Path,
    folder: Path,
    juce: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Configure and build into `folder` (kept, so that the next build is quick).

    Args:
        say: gets one line per step, for people.

    Returns: the folder that holds `VST3/Stembridge.vst3` and `LV2/Stembridge.lv2`.

    Raises:
        NotAvailableError: something is missing (with the list), or the build failed (with
            the path of its log and the last lines).
    """
    lacks = missing(juce)
    if lacks:
        raise NotAvailableError(explain(lacks))
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    options = [f"-DSTEMBRIDGE_JUCE_DIR={juce.resolve()}"] if juce is not None else []
    steps = [
        ["cmake", "-S", str(source / "plugin"), "-B", str(folder), "-G", "Ninja", *options],
        ["cmake", "--build", str(folder)],
    ]
    say(f"Building the plugin (about {FULL_BUILD_MINUTES} minutes the first time)")
    failed = False
    with log.open("w", encoding="utf-8") as file:
        for step in steps:
            result = subprocess.run(step, stdout=file, stderr=subprocess.STDOUT, check=False)
            failed = result.returncode != 0
            if failed:
                break
    if failed:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise NotAvailableError(
            f"The plugin's build failed. Its log is {str(log)!r}; the end of it:\n{tail}\n"
            "If it speaks of a missing header, install that; delete the folder to begin anew."
        )
    return folder / "Stembridge_artefacts" / "Release"
