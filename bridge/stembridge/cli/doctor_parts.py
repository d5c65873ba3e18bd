"""`stembridge doctor`, the installation: Stembridge's own parts, each tried as it is used.

Separators are loaded, presets read, the server asked, the plugin run on the example song,
and the embedded separator measured. What is not installed and need not be is `optional`.
"""

from __future__ import annotations

from .doctor_findings import Context, Finding


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
