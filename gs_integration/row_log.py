"""Measured rows as JSON lines, so that a stopped measurement goes on where it was."""

import json
from pathlib import Path
from typing import Any


class RowLog:
    """Rows beside the results, written down one by one.

    Attributes:
        path: the file.
        rows: what is there, by the values of the columns that name a row.

    Args:
        path: the file; its first line says what was measured.
        identity: what the rows depend on (checkpoint hash, settings); rows of another identity are discarded.
        named_by: the columns that name a row.
    """

    def __init__(self, path: Path, identity: dict[str, object], named_by: tuple[str, ...]) -> None:
        """Read the rows that are already there, or begin a new file."""
        self.path = path
        self.rows: dict[tuple[str, ...], dict[str, Any]] = {}
        self._named_by = named_by
        header = json.dumps(identity, sort_keys=True)
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if lines and lines[0] == header:
            for line in lines[1:]:
                self._remember(line)
        # Written anew: the last line of a run that was stopped may lack its end.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *map(json.dumps, self.rows.values())]) + "\n")

    def _remember(self, line: str) -> None:
        try:
            row = json.loads(line)
            self.rows[self._name(row)] = row
        except (json.JSONDecodeError, KeyError, TypeError):
            return

    def _name(self, row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[column]) for column in self._named_by)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row and write it down at once."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[self._name(row)] = row
