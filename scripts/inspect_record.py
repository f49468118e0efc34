"""Look at a record, a folder of records or a shard: contact sheet, camera plot, and checks of it against itself.

Writes NAME/contact_sheet.png and NAME/cameras.png for each record, and report.json. The exit status is 2 when a check
found something wrong.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError
from distill_core.progress import Progress
from scripts.command_line import USER_ERROR_STATUS, run, say

if TYPE_CHECKING:
    from gs_integration.pipelines.inspect_records import FoundRecord, InspectedRecord

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG", "absent": "-    "}


class InspectRecord(BaseModel):
    """Command line of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, tyro.conf.Positional] = Field(
        description="a record, a capture by others, a folder of records, a shard (.tar), or the address of a set of "
        "shards"
    )
    output_dir: Path = Field(default=Path("out/inspection"), description="folder of the pictures and report.json")
    record: str | None = Field(default=None, description="name of one record of a set; none takes all")
    limit: int = Field(default=20, ge=1, description="at most so many records of a set, the first by name")
    viewer: bool = Field(default=False, description="then show the record in the browser (viser); of one record")
    port: int = Field(default=8080, ge=1, le=65535, description="first port that the viewer tries")


def main(settings: InspectRecord, progress: Progress) -> int:
    """Look at the records, write what was seen, and say what was found."""
    from gs_integration.pipelines.inspect_records import inspect_record
    from gs_integration.pipelines.report import recorded_run, write_json

    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as run_record:
        chosen = _chosen(settings)
        run_record.progress.stage("records", len(chosen))
        findings: dict[str, object] = {}
        sound, inspected = True, None
        for found in chosen:
            try:
                inspected = inspect_record(found)
            except UserError as error:
                say(f"{found.name}\n  {_MARKS['wrong']} {error}")
                findings[found.name], sound = {"error": str(error)}, False
            else:
                _say(inspected)
                _write(inspected, settings.output_dir / found.name)
                findings[found.name] = [vars(finding) for finding in inspected.checked.findings]
                sound = sound and inspected.checked.is_sound
            run_record.progress.advance()
        settings.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(settings.output_dir / "report.json", run_record.report(settings, records=findings))
    say(f"wrote {settings.output_dir}")
    if settings.viewer and inspected is not None:
        _show(inspected, settings.port)
    return 0 if sound else USER_ERROR_STATUS


def _chosen(settings: InspectRecord) -> "list[FoundRecord]":
    from gs_integration.pipelines.inspect_records import find_records

    found = find_records(settings.source)
    if settings.record is not None:
        named = [record for record in found if record.name == settings.record]
        if not named:
            raise UserError(
                f"--record: expected a name in {settings.source}, got {settings.record!r}; it has "
                f"{', '.join(record.name for record in found[:5])}{', ...' if len(found) > 5 else ''}."
            )
        found = named
    if settings.viewer and len(found) > 1:
        raise UserError(f"--viewer: expected one record, got {len(found)}; name one with --record.")
    if len(found) > settings.limit:
        say(f"the first {settings.limit} of {len(found)} records (--limit)")
    return found[: settings.limit]


def _say(inspected: "InspectedRecord") -> None:
    say(inspected.name)
    for finding in inspected.checked.findings:
        say(f"  {_MARKS[finding.state]} {finding.check}: {finding.says}")


def _write(inspected: "InspectedRecord", folder: Path) -> None:
    from distill_core.pictures.images import write_png

    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "contact_sheet.png", inspected.sheet)
    write_png(folder / "cameras.png", inspected.plot)


def _show(inspected: "InspectedRecord", port: int) -> None:
    from gs_integration.pipelines.inspect_records import readable_views
    from gs_integration.record_viewer import show_record_in_browser

    views = list(readable_views(inspected.record, len(inspected.record)))
    show_record_in_browser(views, inspected.checked.surface, port=port)


if __name__ == "__main__":
    run(main, InspectRecord, description=__doc__)
