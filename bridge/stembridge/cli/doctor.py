"""`stembridge doctor`: is this installation whole, fit for its machine, and how fast?

`CHECKS` is a table; a part that is installed besides adds a row. A check returns findings
and never raises: what breaks inside one becomes its finding.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from .common import add_json_argument, add_verb, console_err, console_out, print_json

_EPILOG = """examples:
  stembridge doctor
  stembridge doctor --quick       without the measurement of speed
  stembridge doctor --json        for a bug report
"""


@dataclass(frozen=True)
class Finding:
    """One line: `ok` is as it should be, `optional` is not installed and need not be, `note`
    could be better, `problem` does not work."""

    level: Literal["ok", "optional", "note", "problem"]
    subject: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What the checks may want to know."""

    quick: bool


@dataclass(frozen=True)
class Check:
    """One row of `CHECKS`."""

    name: str
    run: Callable[[Context], list[Finding]]


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "doctor", "check this installation and measure its speed", epilog=_EPILOG
    )
    parser.add_argument("--quick", action="store_true", help="do not measure the speed")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    context = Context(quick=args.quick)
    findings: list[Finding] = []
    out = console_err() if args.json else console_out()
    for check in CHECKS:
        for finding in _findings(check, context):
            findings.append(finding)
            if not args.json:
                _print(out, finding)
    problems = sum(f.level == "problem" for f in findings)
    notes = sum(f.level == "note" for f in findings)
    if args.json:
        rows = [
            {"level": f.level, "subject": f.subject, "text": f.text, "data": f.data}
            for f in findings
        ]
        print_json({"ok": not problems, "problems": problems, "notes": notes, "findings": rows})
    elif problems:
        out.print(f"\n[red]{problems} problem{'s' * (problems > 1)}[/] to solve, see above.")
    else:
        out.print("\n[green]Stembridge is ready.[/]")
    return 1 if problems else 0


def _findings(check: Check, context: Context) -> list[Finding]:
    try:
        return check.run(context)
    except Exception as error:  # a diagnosis must never be what breaks
        return [Finding("problem", check.name, f"{type(error).__name__}: {error}")]


def _print(out: Any, finding: Finding) -> None:
    from rich.markup import escape
    from rich.table import Table

    marks = {"ok": "[green]✓", "optional": "[dim]·", "note": "[yellow]!", "problem": "[red]✗"}
    mark = f"{marks[finding.level]}[/]"
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=11)
    line.add_column(overflow="fold")
    style = "dim" if finding.level == "optional" else ""
    line.add_row(mark, f"[bold]{escape(finding.subject)}[/]", escape(finding.text), style=style)
    out.print(line)


def check_versions(context: Context) -> list[Finding]:
    """Python and the packages, each by the version that is installed."""
    import platform
    import sys
    from importlib import metadata

    from .. import __version__

    versions: dict[str, str] = {"stembridge": __version__, "python": platform.python_version()}
    findings = []
    for name in ("torch", "numpy", "pedalboard", "soundfile", "python-osc", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(
                Finding("problem", name, f"not installed. Install it: pip install {name}")
            )
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    system = f"{platform.system()} {platform.machine()}"
    level = "ok" if (3, 11) <= sys.version_info[:2] <= (3, 12) else "note"
    found = Finding(level, "versions", f"{text}; {system}", versions | {"system": system})
    return [found, *findings]


def check_device(context: Context) -> list[Finding]:
    """Where torch computes, and whether its build suits this machine."""
    import torch

    build = "CUDA " + torch.version.cuda if torch.version.cuda else "CPU"
    data = {"torch_build": build, "cuda": torch.cuda.is_available()}
    findings = []
    if torch.cuda.is_available():
        findings.append(Finding("ok", "device", f"GPU: {torch.cuda.get_device_name(0)}", data))
    elif torch.backends.mps.is_available():
        findings.append(Finding("ok", "device", "Apple GPU (mps)", data))
    else:
        findings.append(
            Finding("ok", "device", f"CPU, {_cpu_name()}; torch built for {build}", data)
        )
    advice = torch_advice(
        cuda_build=torch.version.cuda is not None,
        cuda_works=torch.cuda.is_available(),
        has_gpu=_has_nvidia_gpu(),
    )
    if advice:
        findings.append(Finding("note", "torch", advice))
    return findings


def torch_advice(cuda_build: bool, cuda_works: bool, has_gpu: bool) -> str:
    """What to do about a torch build that does not suit the machine; empty if it does."""
    cpu_index = "--index-url https://download.pytorch.org/whl/cpu"
    if cuda_build and not has_gpu:
        return (
            "This torch carries CUDA, several GB that nothing here can use. The CPU build is "
            f"enough: pip install --force-reinstall torch {cpu_index}"
        )
    if has_gpu and not cuda_build:
        return (
            "There is an NVIDIA GPU, and this torch cannot use it. Install the CUDA build: "
            "pip install --force-reinstall torch"
        )
    if has_gpu and not cuda_works:
        return (
            "There is an NVIDIA GPU, but torch cannot reach it: its driver is older than this "
            "torch needs, or not loaded. Check with: nvidia-smi"
        )
    return ""


def _has_nvidia_gpu() -> bool:
    from pathlib import Path

    if Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists():
        return True
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    for vendor in vendors:
        try:
            kind = (vendor.parent / "class").read_text()
            if vendor.read_text().strip() == "0x10de" and kind.startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _cpu_name() -> str:
    import os
    import platform
    from pathlib import Path

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * ((cores or 1) > 1)}"


def check_threads(context: Context) -> list[Finding]:
    """How many threads torch takes by itself."""
    import torch

    threads = torch.get_num_threads()
    return [Finding("ok", "threads", f"{threads} for one separation", {"threads": threads})]


def check_native(context: Context) -> list[Finding]:
    """Whether the compiled module is there, which the server and the plugin need."""
    try:
        from .. import _native
    except ImportError as error:
        return [
            Finding(
                "problem",
                "native",
                f"the compiled module is missing ({error}). Install Stembridge again with a C++ "
                "compiler at hand: pip install .",
            )
        ]
    return [Finding("ok", "native", f"compiled module {_native.__name__.rpartition('.')[2]}")]


def check_separators(context: Context) -> list[Finding]:
    """Which separators are ready, with the identity of their weights."""
    from ..errors import StembridgeError
    from ..separators import SEPARATORS, load_separator

    findings = []
    for entry in SEPARATORS.values():
        try:
            separator = load_separator(entry.name)
        except (StembridgeError, ImportError, OSError) as error:
            level = "problem" if entry.embedded else "optional"
            first = str(error)
            findings.append(Finding(level, entry.name, first, {"ready": False}))
            continue
        names = separator.capabilities.names
        text = f"weights {separator.space.rpartition(':')[2]}; {', '.join(names[:8])}"
        data = {"ready": True, "space": separator.space, "names": list(names)}
        findings.append(Finding("ok", entry.name, text, data))
    return findings


def check_presets(context: Context) -> list[Finding]:
    """Whether every preset can be read."""
    from ..presets import list_presets, user_folder

    entries = list_presets()
    broken = [Finding("note", "preset", entry.error) for entry in entries if entry.error]
    own = sum(entry.origin == "user" for entry in entries)
    text = f"{len(entries) - own} factory, {own} of yours in {user_folder()}"
    if len(entries) == own:
        broken.append(Finding("problem", "presets", "no factory presets. Install again."))
    return [Finding("ok", "presets", text, {"factory": len(entries) - own, "user": own}), *broken]


def check_programs(context: Context) -> list[Finding]:
    """Helpers that are not needed, but good to have."""
    import importlib.util
    import shutil

    findings = []
    if shutil.which("ffmpeg") is None:
        findings.append(Finding("note", "ffmpeg", "not found; it is needed to read M4A and WMA"))
    else:
        findings.append(Finding("ok", "ffmpeg", "found, for M4A and the like"))
    if importlib.util.find_spec("matplotlib") is None:
        findings.append(
            Finding(
                "note",
                "matplotlib",
                'not installed; --plot needs it: pip install "stembridge[plot]"',
            )
        )
    return findings


def check_server(context: Context) -> list[Finding]:
    """Whether a server runs, how busy it is, and what does not keep up in it."""
    from ..server.running import health

    return [Finding(level, "server", text, data) for level, text, data in health()]


def check_plugin(context: Context) -> list[Finding]:
    """Whether the DAW plugin is installed, and changes the example song end to end."""
    from ..plugin_check import check

    return [Finding(level, "plugin", text, data) for level, text, data in check(context.quick)]


def check_speed(context: Context) -> list[Finding]:
    """Measured load of each mode of the embedded separator on this machine."""
    if context.quick:
        return []
    from ..separators import load_separator
    from .bench import measure

    separator = load_separator("unet")
    findings, busy = [], False
    for mode in separator.modes:
        row = measure(separator, mode, separator.capabilities.names[:1], 6.0, limit_seconds=8.0)
        load = row["seconds_per_second"]
        busy |= row["cpu_seconds_per_second"] < 0.6 * load
        text = (
            f"{mode}: {1 / load:.1f}× real time, {100 * load:.0f} % load, "
            f"{row['latency_seconds'] * 1000:.0f} ms delay"
        )
        slow = load > 0.7 and mode != "render"
        if slow:
            text += ". Too slow to play along safely here: use another mode, or free the CPU"
        findings.append(Finding("note" if slow else "ok", "speed", text, row))
    if busy:
        text = "other programs were using the CPU: measure again when it is idle"
        findings.append(Finding("note", "speed", text))
    return findings


CHECKS: list[Check] = [
    Check("versions", check_versions),
    Check("device", check_device),
    Check("threads", check_threads),
    Check("native", check_native),
    Check("separators", check_separators),
    Check("presets", check_presets),
    Check("programs", check_programs),
    Check("server", check_server),
    Check("plugin", check_plugin),
    Check("speed", check_speed),
]
