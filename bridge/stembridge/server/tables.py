"""The verb table as Markdown: `docs/osc.md` holds what `markdown()` returns, word for word.

Run `python -m stembridge.server.tables PAGE` to write the tables into a page between its
two markers; a test compares the page with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .protocol import ERROR_CODES, KINDS, Argument, Value
from .verbs import EVENTS, SERVER_STATUS, SESSION_STATUS, VERBS, Verb

BEGIN = "<!-- tables: written from the code by stembridge.server.tables -->"
END = "<!-- end of tables -->"


def markdown() -> str:
    """All tables of the page."""
    groups = (
        ("The server", "/server/"),
        ("Separators and latency", ("/separator/", "/latency/")),
        ("Presets", "/preset/"),
        ("Sessions", "/session/"),
    )
    lines: list[str] = []
    for title, prefix in groups:
        lines += [f"## {title}", ""]
        for verb in VERBS:
            if verb.path.startswith(prefix):
                lines += _verb(verb)
    lines += ["## What the server sends unasked", ""]
    for event in EVENTS:
        lines += [f"### `{event.path}`", "", event.summary, ""]
        lines += _arguments(event.arguments)
    lines += ["## Status keys", "", "Of a session:", ""]
    lines += _keys(SESSION_STATUS)
    lines += ["Of the server:", ""]
    lines += _keys(SERVER_STATUS)
    lines += ["## Error codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in ERROR_CODES.items()]
    return "\n".join(lines) + "\n"


def _verb(verb: Verb) -> list[str]:
    notes = []
    if verb.trusted:
        notes.append("Needs the token.")
    if verb.reserved:
        notes.append("Reserved: answers `unavailable` for now.")
    lines = [f"### `{verb.path}`", "", " ".join([verb.summary, *notes]), ""]
    lines += _arguments(verb.arguments)
    path = verb.path.replace("<id>", "a1")
    example = " ".join([path, *map(_shown, verb.example)])
    lines += [f"Example: `{example}`", ""]
    if verb.reply:
        words = " ".join(_name(argument) for argument in verb.reply)
        lines += [f"Reply: `/reply {path} {words}`", ""]
        lines += [f"- `{a.name}` {KINDS[a.kind]}: {a.summary}" for a in verb.reply]
        lines.append("")
    else:
        lines += [f"Reply: `/reply {path}`", ""]
    return lines


def _arguments(arguments: tuple[Argument, ...]) -> list[str]:
    if not arguments:
        return []
    lines = ["| argument | type | range | default | meaning |", "|---|---|---|---|---|"]
    for a in arguments:
        default = "" if a.default is None else f"`{a.default!r}`"
        if a.many:
            default = "none"
        cells = (f"`{_name(a)}`", KINDS[a.kind], a.range_text, default, a.summary)
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _keys(arguments: tuple[Argument, ...]) -> list[str]:
    lines = ["| key | type | meaning |", "|---|---|---|"]
    lines += [f"| `{a.name}` | {KINDS[a.kind]} | {a.summary} |" for a in arguments]
    return [*lines, ""]


def _name(argument: Argument) -> str:
    return f"<{argument.name}>" + ("…" if argument.many else "")


def _shown(value: Value) -> str:
    if isinstance(value, str) and (not value or set(value) & set(' "{')):
        return "'" + value + "'"
    return str(value)


def write_page(page: Path) -> None:
    """Replace what stands between the markers of `page` by the present tables."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    page.write_text(f"{head}{BEGIN}\n\n{markdown()}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
