"""The documents are true: their code runs, prints what they say, and their links lead somewhere.

The Python blocks of one file are one program: a later block may use the names of an earlier one. A
```text block right behind a block is what that block prints. The commands of one file run one after
another in a folder with `work.py` (the block of docs/cli.md that begins with ``# work.py``) and the
folders `data` and `mixed`, which docs/cli.md describes.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import pocketflex
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])

TOP = Path(__file__).parents[1]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
MODULES = ["pocketflex", *(module.name for module in pkgutil.walk_packages(pocketflex.__path__, "pocketflex."))]
MARK = "=== the next block ==="


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: The word behind the fence.
        line: Number of its first line of text in the document.
        text: What it holds.
        output: The text of the ```text block that follows with at most blank lines between, or None.
    """

    language: str
    line: int
    text: str
    output: str | None


def read_blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    lines = document.splitlines()
    begun, fence, language, ended = 0, "", "", 0
    for number, line in enumerate(lines, 1):
        opening = re.match(r"( *)(```+)(\S*)$", line)
        if not fence and opening:
            begun, fence, language = number, line[: opening.end(2)], opening[3]
        elif fence and line == fence:
            text = "\n".join(entry.removeprefix(" " * fence.index("`")) for entry in lines[begun : number - 1])
            is_output = language == "text" and bool(found) and not any(map(str.strip, lines[ended : begun - 1]))
            if is_output:
                found[-1] = found[-1]._replace(output=text)
            found.append(Block(language, begun + 1, text, None))
            fence, ended = "", number
    assert not fence, f"the block in line {begun} does not end"
    return found


def blocks_of(document: Path, language: str) -> list[Block]:
    return [block for block in read_blocks(document.read_text()) if block.language == language]


def name_of(document: Path) -> str:
    return str(document.relative_to(TOP))


def trimmed(text: str) -> list[str]:
    """The lines of `text` without space at their ends and without empty lines at its end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def with_python(documents: list[Path]) -> list[Path]:
    return [document for document in documents if blocks_of(document, "python")]


def test_blocks_are_found_with_their_output() -> None:
    document = "a\n```python\n1\n```\n\n```text\n2 \n```\nb\n- c\n\n  ```sh\n  d\n  ```\n\ne\n```text\nf\n```\n"
    assert read_blocks(document) == [
        Block("python", 3, "1", "2 "),
        Block("text", 7, "2 ", None),
        Block("sh", 13, "d", None),
        Block("text", 18, "f", None),
    ]


@pytest.mark.parametrize("document", with_python(DOCUMENTS), ids=name_of)
def test_python_blocks_run_and_print_what_the_document_says(document: Path, tmp_path: Path) -> None:
    blocks = blocks_of(document, "python")
    for block in blocks:
        assert not block.text.lstrip().startswith("# not run"), f"line {block.line}: every Python block is run"
    between = f"\nprint({MARK!r}, flush=True)\n"
    script = tmp_path / f"{document.stem.replace('-', '_')}_blocks.py"
    script.write_text("".join(block.text + between for block in blocks))
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},  # a key of pf.Journal is to be made there
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # one that is raised where nobody can catch it is only printed
    printed = done.stdout.split(f"{MARK}\n")[:-1]
    assert len(printed) == len(blocks)
    for block, text in zip(blocks, printed, strict=True):
        if block.output is not None:
            assert trimmed(text) == trimmed(block.output), f"line {block.line}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the documents' commands can run, once it has `work.py`."""
    for name in ("data", "mixed"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.txt").write_text("three short words\n")
    (tmp_path / "mixed" / "1.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "settings.json").write_text('{"path": "data"}\n')
    return tmp_path


def commands_of(document: Path) -> Iterator[tuple[str, str | None]]:
    """The `pocketflex` commands of a document, and what is said to be printed where that is one's own block."""
    for block in blocks_of(document, "sh"):
        lines = [line for line in block.text.splitlines() if line.startswith("pocketflex ")]
        for line in lines:
            yield line, block.output if len(lines) == 1 else None


def without_measurements(text: str) -> list[str]:
    """`text` with what differs from run to run and from machine to machine taken out."""
    text = re.sub(r"[\d.,]+ (ms|s|items/s)(?!\w)", "TIME", text)
    text = re.sub(r"\d+ workers?\b", "WORKERS", text)
    text = re.sub(r"[\d.]+x$", "RATIO", text, flags=re.MULTILINE)
    return [re.sub(r"(?<=\S) +", " ", line) for line in trimmed(text)]


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(commands_of(d))], ids=name_of)
def test_commands_run_and_end_with_the_status_that_the_document_says(document: Path, folder: Path) -> None:
    """Status 0 unless the line says ``# exit status N``; stdout comes before stderr in the output."""
    work = next(
        b for d in (document, TOP / "docs/cli.md") for b in blocks_of(d, "python") if b.text.startswith("# work.py")
    )
    (folder / "work.py").write_text(work.text + "\n")
    for line, output in commands_of(document):
        said = re.search(r"# exit status (\d+)", line)
        words = shlex.split(line, comments=True)
        done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == int(said[1] if said else 0), f"{line}\n{done.stdout}{done.stderr}"
        if output is not None:
            assert without_measurements(done.stdout + done.stderr) == without_measurements(output), line


def test_the_readme_has_a_command_to_try_it_and_one_to_test_it() -> None:
    """They are run by .ci/run, which finds them by how they begin."""
    lines = [line for block in blocks_of(TOP / "README.md", "sh") for line in block.text.splitlines()]
    found = [line for line in lines if line.startswith("python3 ")]
    install = r"python3 -m venv \.venv && \.venv/bin/pip install -q (?:-e )?'\.\[(\w+)\]'"
    form = install + r" && \.venv/bin/(pocketflex run|python -m pytest) .+"
    matches = [re.fullmatch(form, line) for line in found]
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [match and match[2] for match in matches] == ["pocketflex run", "python -m pytest"]
    assert all(match and match[1] in extras for match in matches)


def without_code(document: str) -> str:
    """The prose of a document: fenced blocks and code within lines taken out."""
    prose = re.sub(r"^( *)(```+).*?^\1\2$", "", document, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", prose)


def anchors_of(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^( *)(```+).*?^\1\2$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, flags=re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in found)
        found.add(f"{anchor}-{repeated}" if repeated else anchor)
    return found


LINKS = [
    pytest.param(document, link, id=f"{name_of(document)}-{link}")
    for document in DOCUMENTS
    for link in sorted(set(re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text()))))
    if not re.match(r"https?://|mailto:", link)
]


@pytest.mark.parametrize(("document", "link"), LINKS)
def test_links_lead_somewhere(document: Path, link: str) -> None:
    place, _, anchor = link.partition("#")
    target = (document.parent / place).resolve() if place else document
    assert target.exists(), f"{link} does not exist"
    assert target.is_relative_to(TOP), f"{link} is outside of the project"
    if anchor:
        assert anchor in anchors_of(target)


def test_the_index_has_every_page() -> None:
    index = (TOP / "docs" / "index.md").read_text()
    pages = {path.name for path in (TOP / "docs").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", index))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
