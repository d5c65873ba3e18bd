"""The table of verbs. A new verb is one row here and one module beside this one.

A module has `add_parser(subparsers)`, which describes the verb with argparse alone, and
`run(args) -> int`, which does the work, imports what it needs and returns the exit code.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One row: the module beside this one, and the line that `--help` shows."""

    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "separate": Verb("separate", "split songs into stems, or keep and remove sounds by prompt"),
    "serve": Verb("serve", "run the server that the plugin talks to"),
    "ctl": Verb("ctl", "look at the running server and steer it"),
    "presets": Verb("presets", "list, show, save, import and export presets"),
    "separators": Verb("separators", "the separators, their prompts, delay and state"),
    "models": Verb("models", "fetch and list the published checkpoints"),
    "doctor": Verb("doctor", "check this installation and measure its speed"),
    "evaluate": Verb("evaluate", "measure the quality on songs whose stems you have"),
    "bench": Verb("bench", "measure the speed of every mode"),
    "plot": Verb("plot", "draw a mixture, what was kept and what was removed"),
    "plugin": Verb("plugin", "build and install the DAW plugin (VST3, LV2)"),
    "tune": Verb("tune", "learn a prompt from a few clips of one sound"),
    "train": Verb("train", "train the embedded separator on a folder of recordings"),
    "examples": Verb("examples", "write sound examples of every prompt, to listen to"),
    "probe": Verb("probe", "how much of a mix a prompt takes, and whether it fits"),
}
