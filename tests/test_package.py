"""The package and its pages: what they name exists, and every command in them is understood."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stembridge
from stembridge.cli import _parser
from stembridge.cli.verbs import VERBS
from stembridge.separators import SEPARATORS

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "bridge" / "docs").glob("*.md"))]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def commands(text: str) -> list[str]:
    """The `stembridge …` lines of a page's shell examples and of the helps' examples."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:\$ )?((?:\.venv/bin/)?stembridge [a-z].*)", line)
        if match:
            found.append(re.split(r"\s{2,}|\s2?[|>]\s|\s#", match[1])[0].strip())
    return found


def shell_blocks(text: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))


def epilogs() -> list[str]:
    found = []
    for verb in VERBS.values():
        module = importlib.import_module(f"stembridge.cli.{verb.module}")
        found.append(getattr(module, "_EPILOG", ""))
    return found


EXAMPLES = sorted(
    {c for page in PAGES for c in commands(shell_blocks(page.read_text()))}
    | {c for text in epilogs() for c in commands(text)}
)


def test_there_are_examples_to_check() -> None:
    assert len(EXAMPLES) > 20
    for verb in VERBS:
        assert any(c.split()[1] == verb for c in EXAMPLES), f"no example of {verb}"


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_example_command_is_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    parser = _parser(words)
    try:
        args = parser.parse_args(words)
    except SystemExit as stop:
        raise AssertionError(f"not understood: {command}") from stop
    assert args.verb in VERBS


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_index_names_every_page() -> None:
    index = (REPOSITORY / "bridge" / "docs" / "index.md").read_text()
    for page in PAGES[1:]:
        assert page.name == "index.md" or f"({page.name})" in index, page.name


def test_presets_and_separators_on_the_pages_exist() -> None:
    from stembridge.presets import factory_folder

    page = (REPOSITORY / "bridge" / "docs" / "presets.md").read_text()
    for path in factory_folder().glob("*.preset"):
        assert f"`{path.stem}`" in page, f"presets.md does not mention {path.stem}"


def test_public_names_load() -> None:
    for name in stembridge.__all__:
        assert getattr(stembridge, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = stembridge.nope


def test_versions_agree() -> None:
    assert PROJECT["project"]["version"] == stembridge.__version__
    assert stembridge.__version__ in (REPOSITORY / "CHANGELOG.md").read_text()


def test_what_the_wheel_adds_is_there() -> None:
    for source in PROJECT["tool"]["scikit-build"]["wheel"]["force-include"]:
        assert (REPOSITORY / source).exists(), source
    assert PROJECT["tool"]["scikit-build"]["cmake"]["source-dir"] == "native"
    assert "GPL-3.0-or-later" in PROJECT["project"]["license"]
    assert PROJECT["project"]["scripts"]["stembridge"] == "stembridge.cli:main"


def test_importing_costs_no_torch() -> None:
    code = "import stembridge, sys; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_test_command_is_the_readmes() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert (
        "sh bridge/install.sh && .venv/bin/stembridge separate bridge/examples/song.ogg" in readme
    )
    assert "sh tests/run.sh" in readme
    runner = REPOSITORY / ".ci" / "run"
    assert os.access(runner, os.X_OK) and "tests/run.sh" in runner.read_text()
    for script in ("bridge/install.sh", "tests/run.sh", ".ci/run"):
        subprocess.run(["sh", "-n", str(REPOSITORY / script)], check=True)


def test_the_separators_on_the_command_lines_page_exist() -> None:
    page = (REPOSITORY / "bridge" / "docs" / "cli.md").read_text()
    for name, entry in SEPARATORS.items():
        if entry.embedded:
            assert f"`{name}`" in page
