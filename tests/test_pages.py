"""The pages read as a new user reads them: every command, option, file and place named exists.

`test_package.py` tries the shell examples. This goes further: commands anywhere on a page, in a
sentence, a table or a plain block; those of the benches and of the error messages; the files that
pages name; and the headings that links lead to.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from stembridge.cli import _parser
from stembridge.cli.verbs import VERBS

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "bridge").glob("*/*.md")),
]
PACKAGE = REPOSITORY / "bridge" / "stembridge"
SOURCES = [
    *sorted(PACKAGE.rglob("*.py")),
    *sorted((REPOSITORY / "plugin" / "src").rglob("*.cpp")),
    REPOSITORY / "bridge" / "install.sh",
]
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


def commands(text: str, program: str) -> set[str]:
    """A page's commands that begin with `program`: lines of blocks, and those in sentences."""
    blocks = "\n".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
    indented = [line for line in text.splitlines() if line.startswith("    ")]
    begin = re.compile(rf"\s*(?:\$ |\.venv/bin/|env/bin/)?({program} .*)")
    lines = [found[1] for line in blocks + indented if (found := begin.match(line))]
    spans = [" ".join(span.split()) for span in INLINE.findall(FENCE.sub("", text))]
    found = lines + [span for span in spans if re.match(f"{program} ", span)]
    return {re.split(r"\s{2,}|\s2?[|>─]+\s|\s#|\s&&\s", line)[0].strip() for line in found}


def all_commands(program: str) -> list[str]:
    return sorted({c for page in PAGES for c in commands(page.read_text(), program)})


NAMED = [c for c in all_commands("stembridge") if re.match(r"stembridge [a-z]", c)]
SCRIPTS = [c for c in all_commands("python") if ".py" in c]


def test_the_pages_are_searched() -> None:
    assert len(NAMED) > 60 and len(SCRIPTS) > 15
    assert "stembridge models fetch SYSTEM --from FOLDER" in NAMED, "one that spans two lines"
    assert "stembridge ctl list" in NAMED, "one in a plain block"


@pytest.mark.parametrize("command", NAMED)
def test_every_command_of_the_pages_is_understood(command: str) -> None:
    """Placeholders are taken as words, and what is in [ ] as given."""
    words = shlex.split(re.sub(r"[\[\]…]", "", command))[1:]
    if len(words) <= 2:  # a mention, without what it is to work on
        words = [*words, "--help"]
    try:
        args = _parser(words).parse_args(words)
    except SystemExit as stop:
        assert stop.code == 0, f"not understood: {command}"
    else:
        assert args.verb in VERBS


@pytest.mark.parametrize("command", SCRIPTS)
def test_every_script_of_the_pages_exists_with_its_options(command: str) -> None:
    script = next(word for word in command.split() if word.endswith(".py"))
    path = REPOSITORY / script
    assert path.is_file(), f"no such script: {command}"
    text = path.read_text()
    for option in re.findall(r"(?<=\s)--[a-z-]+", command):
        assert f'"{option}"' in text, f"{script} has no option {option}"


def test_every_command_in_a_message_names_a_verb() -> None:
    """In the program's own texts: errors, helps and the editor say `stembridge VERB`."""
    parsers = {verb: _parser([verb]).parse_args for verb in VERBS}
    seen = set()
    for source in SOURCES:
        for verb, action in re.findall(
            r"[`\"':(] ?stembridge ([a-z]+)(?: ([a-z]+))?", source.read_text()
        ):
            if (verb, action) in (("import", ""), ("unet", "")):  # a shell's Python, a file's mark
                continue
            assert verb in VERBS, f"{source.name}: stembridge {verb}"
            if action and verb in ("presets", "models", "plugin", "ctl"):
                with pytest.raises(SystemExit) as stop:
                    parsers[verb]([verb, action, "--help"])
                assert stop.value.code == 0, f"{source.name}: stembridge {verb} {action}"
            seen.add(verb)
    assert len(seen) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    roots = [REPOSITORY, page.parent, PACKAGE, PACKAGE / "separators", REPOSITORY / "bridge"]
    kinds = "py|sh|cpp|hpp|h|txt|md|cmake|csv"
    for name in re.findall(rf"`([\w.-]+/[\w./-]+\.(?:{kinds}))", page.read_text()):
        assert any((root / name).exists() for root in roots), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for name, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", page.read_text()):
        target = (page.parent / name) if name else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
        assert anchor in anchors, f"{page.name}: {name}#{anchor}"


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    known = extras["optional-dependencies"]
    for path in [*PAGES, *SOURCES]:
        for named in re.findall(r"(?:stembridge|\"\.)\[([a-z,]+)\]", path.read_text()):
            assert set(named.split(",")) <= set(known), f"{path.name}: [{named}]"


def test_every_environment_variable_of_the_package_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    read = {
        name
        for source in PACKAGE.rglob("*.py")
        for name in re.findall(r"(?<!-D)\bSTEMBRIDGE_[A-Z_]+", source.read_text())
    }
    assert len(read) >= 4
    assert {name for name in read if name not in pages} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_can_be_read_and_its_imports_exist(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stembridge"):
                for alias in node.names:
                    try:
                        importlib.import_module(f"{node.module}.{alias.name}")
                    except ModuleNotFoundError:
                        module = importlib.import_module(node.module or "")
                        assert hasattr(module, alias.name), f"{page.name}: {alias.name}"
