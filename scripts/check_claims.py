"""Measure what README claims; goes on where it was stopped.

Each claim that has no record yet is measured by its command. The record, docs/measurements/NAME.json, keeps the
figures, the command, the commit and the machine; the command's table is put into README where it has a place for it:
between <!-- claim NAME --> and <!-- end of claim -->.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill_core.atomic_files import write_text
from distill_core.errors import UserError
from distill_core.progress import Progress
from scripts.claims import CLAIMS, Claim
from scripts.command_line import run, say
from scripts.interruption import interrupt_deferred

_REPOSITORY = Path(__file__).resolve().parents[1]


class CheckClaimsSettings(BaseModel):
    """Which claims, and where their parts are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    only: tuple[str, ...] = Field(default=(), description="names of claims to measure; all if none is given")
    again: bool = Field(default=False, description="measure again what has a record")
    assets: Path = Field(default=_REPOSITORY.parent / "shared" / "assets", description="folder of models and captures")
    measurements: Path = Field(default=_REPOSITORY / "docs" / "measurements", description="folder of the records")
    results: Path = Field(default=_REPOSITORY / "out" / "claims", description="folder of what the commands write")
    readme: Path = Field(default=_REPOSITORY / "README.md", description="page that shows the tables")


def main(settings: CheckClaimsSettings, progress: Progress) -> int:
    """Measure what has no record, show every table, and say which claims could not be measured."""
    failed = []
    for claim in _chosen(settings.only):
        record_file = settings.measurements / f"{claim.name}.json"
        say(f"## {claim.says} ({claim.name})")
        if settings.again or not _is_measured(record_file, claim):
            try:
                record = measure(claim, settings)
            except UserError as error:
                say(f"not measured: {error}\n")
                failed.append(claim.name)
                continue
            write_text(json.dumps(record, indent=2) + "\n", record_file)
        record = json.loads(record_file.read_text())
        say(record["table"])
        if settings.readme.exists():
            page = settings.readme.read_text()
            if (changed := with_table(page, claim.name, record)) != page:
                write_text(changed, settings.readme)
    if failed:
        say(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


def measure(claim: Claim, settings: CheckClaimsSettings) -> dict[str, Any]:
    """Run a claim's command and return its record.

    Args:
        claim: what to measure.
        settings: where things are.

    Raises:
        UserError: the command failed, or wrote no figures.
    """
    from scripts.machine import describe_machine

    results = settings.results / claim.name
    if settings.again:
        shutil.rmtree(results, ignore_errors=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    words = [word.format(assets=settings.assets, out=results) for word in claim.command]
    began = time.monotonic()
    table = _portable(_table(_output_of(words)), claim, settings)
    seconds = time.monotonic() - began
    figures = results / claim.figures
    if not figures.is_file():
        raise UserError(f"Expected {claim.command[0]} to write {figures}, which is not there.")
    return {
        "claim": claim.says,
        "command": _shown_command(claim),
        "commit": _commit(),
        "machine": describe_machine(),
        "seconds": round(seconds, 1),
        "figures": json.loads(_portable(figures.read_text(), claim, settings)),
        "table": table,
    }


def with_table(page: str, name: str, record: dict[str, Any]) -> str:
    """Return the page with the claim's table in its place; unchanged if it has none.

    Args:
        page: text of README.
        name: name of the claim.
        record: its record.
    """
    table = record["table"] if "|" in record["table"] else f"```text\n{record['table']}\n```"
    machine = record["machine"]
    where = machine["graphics_card"] or f"{machine['processor']}, {machine['cores']} cores"
    block = f"{table}\n\n`{record['command']}` ({where})"
    place = re.compile(rf"(<!-- claim {re.escape(name)} -->\n).*?(<!-- end of claim -->)", re.DOTALL)
    return place.sub(lambda match: f"{match[1]}{block}\n{match[2]}", page)


def _chosen(only: tuple[str, ...]) -> list[Claim]:
    known = {claim.name: claim for claim in CLAIMS}
    for name in only:
        if name not in known:
            raise UserError(f"Expected --only to name claims, got {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in only] if only else list(CLAIMS)


def _is_measured(record_file: Path, claim: Claim) -> bool:
    return record_file.exists() and json.loads(record_file.read_text())["command"] == _shown_command(claim)


def _shown_command(claim: Claim) -> str:
    return shlex.join(
        ["python", *(word.format(assets="../shared/assets", out=f"out/claims/{claim.name}") for word in claim.command)]
    )


def _table(output: str) -> str:
    """What a program printed, without the lines that say which files it wrote."""
    return "\n".join(line for line in output.splitlines() if not line.startswith("wrote ")).strip()


def _portable(text: str, claim: Claim, settings: CheckClaimsSettings) -> str:
    """What a program said or wrote, with the paths as the record shows them and not those of this machine."""
    for folder, shown in (
        (settings.results / claim.name, f"out/claims/{claim.name}"),
        (settings.assets, "../shared/assets"),
    ):
        text = text.replace(str(folder), shown)
    return text


def _output_of(words: list[str]) -> str:
    """Run a program of this checkout and return what it prints to standard output."""
    lines = []
    process = None
    try:
        with interrupt_deferred():
            process = subprocess.Popen([sys.executable, *words], cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            lines.extend(process.stdout)
        status = process.wait()
    finally:
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()
    if status != 0:
        raise UserError(f"{words[0]} ended with status {status}; what it said stands above.")
    return "".join(lines)


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    run(main, CheckClaimsSettings, description=__doc__)
