"""`stembridge presets list`: every preset there is, under headings, as a table or as JSON.

Broken files are listed with their error, and presets that a name hides are marked, so that
the list explains what a name will load.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import console_out, print_json

if TYPE_CHECKING:
    from ..presets import Preset, PresetEntry


def run_list(args: argparse.Namespace) -> int:
    """Print all presets: a table under headings, or with `--json` one document."""
    from ..presets import list_presets, user_folder

    entries = list_presets()
    if getattr(args, "json", False):
        print_json({"user_folder": str(user_folder()), "presets": [_row(e) for e in entries]})
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("preset", "", "what it does"):
        table.add_column(heading)
    section = None
    for entry in entries:
        group = entry.preset.group if entry.preset else "Broken"
        heading = (entry.origin, group)
        if heading != section:
            section = heading
            owner = "Yours" if entry.origin == "user" else "Factory"
            table.add_row("", "", "")
            table.add_row(
                f"[bold cyan]{escape(owner + (f': {group}' if group else ''))}[/]", "", ""
            )
        table.add_row(escape(entry.slug), _state(entry), _about(entry))
    out = console_out()
    out.print(table)
    out.print(f"\n[dim]Yours lie in {escape(str(user_folder()))}[/]")
    return 0


def _state(entry: PresetEntry) -> str:
    if entry.error:
        return "[red]broken[/]"
    if entry.shadows:
        return "[yellow]replaces factory[/]"
    if entry.hidden:
        return "[dim]replaced by yours[/]"
    return f"[dim]{entry.preset.separator}[/]" if entry.preset else ""


def _about(entry: PresetEntry) -> str:
    from rich.markup import escape

    if entry.preset is None:
        return f"[red]{escape(entry.error)}[/]"
    return escape(entry.preset.description.partition("\n")[0] or prompt_words(entry.preset))


def _row(entry: PresetEntry) -> dict[str, Any]:
    preset = entry.preset
    return {
        "name": entry.name,
        "slug": entry.slug,
        "origin": entry.origin,
        "path": str(entry.path),
        "replaces_factory": entry.shadows,
        "replaced_by_user": entry.hidden,
        "error": entry.error or None,
        "group": preset.group if preset else "",
        "description": preset.description if preset else "",
        "separator": preset.separator if preset else None,
        "prompts": prompt_words(preset) if preset else "",
    }


def prompt_words(preset: Preset) -> str:
    """The prompts in a few words: "keep a dog, 2 clips; remove rain"."""
    from ..prompts import ExamplePrompt, NamePrompt, TextPrompt

    sides = []
    for side in ("keep", "remove"):
        words = []
        for prompt in getattr(preset, side):
            if isinstance(prompt, NamePrompt):
                words.append(prompt.name)
            elif isinstance(prompt, TextPrompt):
                words.append(prompt.text)
            elif isinstance(prompt, ExamplePrompt):
                count = len(prompt.clips)
                words.append(f"{count} clip{'s' if count != 1 else ''}")
            else:
                words.append(prompt.label)
        if words:
            sides.append(f"{side} {', '.join(words)}")
    return "; ".join(sides)
