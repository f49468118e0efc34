"""Numba's cache is renewed when a kernel's own file changes, not when a file does that it takes constants or functions
from: whoever updates a checkout would go on with what was compiled before. So every such kernel module states what it
was compiled with, and a change of the one changes the other.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

STATEMENT = re.compile(r"^# Compiled with sources (\w+) .*$", re.MULTILINE)


def imported_sources(file: Path, repository: Path) -> list[Path]:
    names = [
        node.module
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gs_integration")
    ]
    return [repository / (name.replace(".", "/") + ".py") for name in sorted(names)]


def test_kernels_state_the_sources_they_are_compiled_with(repository: Path) -> None:
    @cache
    def content(file: Path) -> str:
        """The file as it should be."""
        return STATEMENT.sub(lambda match: match.group().replace(match[1], digest(file)), file.read_text())

    def digest(file: Path) -> str:
        together = "\n".join(content(source) for source in imported_sources(file, repository))
        return hashlib.sha256(together.encode()).hexdigest()[:12]

    wrong = []
    for file in sorted((repository / "gs_integration" / "rasterization").glob("*_kernels.py")):
        stated = STATEMENT.search(file.read_text())
        if stated is None or stated[1] != digest(file):
            wrong.append(f"{file.name}: # Compiled with sources {digest(file)} (see test_kernel_sources.py)")
    assert not wrong, "\n".join(["these lines belong into these modules:", *wrong])
