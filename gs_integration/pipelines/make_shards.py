"""Records to shards, whole or not at all; records that cannot be packed are listed."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_core.errors import UserError
from distill_core.records.record_sets import RecordFolders
from distill_core.records.shard_files import INDEX_FILE, PictureEncoding, ShardWriter
from gs_integration.output_folder import check_replaceable, complete_folder
from gs_integration.pipelines.report import RunRecord, write_json
from gs_integration.pipelines.shard_settings import ShardSettings

logger = logging.getLogger(__name__)

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class ShardResult:
    """What was packed.

    Attributes:
        counts: shards, records, views and bytes of each split.
        left_out: reasons, by the records' names.
    """

    counts: dict[str, dict[str, int]]
    left_out: dict[str, str]


def make_shards(records_dir: Path, settings: ShardSettings, output_dir: Path, run: RunRecord) -> ShardResult:
    """Pack the records of a folder; the set appears when it is complete, in the place of an older one.

    Records lie in the order of their objects' hashes, so that the shards of a split are samples of it, and the same
    records give the same bytes.

    Args:
        records_dir: folder of records.
        settings: how.
        output_dir: of the shards, the index and the report.
        run: of the job; progress stage "records".

    Raises:
        UserError: no records, none that can be packed, or the folder holds other files.
        Cancelled: the caller asked for the end; nothing is left behind.
    """
    check_replaceable(output_dir, _files_of(output_dir))
    records = RecordFolders(records_dir, settings.val_share)
    order = sorted(
        range(len(records.summaries)),
        key=lambda place: (
            hashlib.sha256(records.summaries[place].object_id.encode()).digest(),
            records.summaries[place].name,
        ),
    )
    encoding = PictureEncoding(
        settings.picture_format, settings.webp_quality, settings.with_depth, settings.with_normals
    )
    left_out: dict[str, str] = {}
    run.progress.stage("records", len(order))
    with (
        complete_folder(output_dir, _files_of(output_dir)) as folder,
        ShardWriter(
            folder, encoding, shard_bytes=round(settings.shard_mib * 2**20), val_share=settings.val_share
        ) as writer,
    ):
        for place in order:
            name = records.summaries[place].name
            try:
                writer.add(name, records.read(place))
            except UserError as error:
                left_out[name] = str(error)
                logger.warning("left out %s: %s", name, error)
            run.progress.advance()
        result = ShardResult(writer.finish()["counts"], left_out)
        write_json(folder / REPORT_FILE, run.report(settings, **vars(result)))
    return result


def table(result: ShardResult) -> str:
    """The counts of each split, a line each."""
    return "\n".join(
        f"{split}: {count['records']} records, {count['views']} views, {count['shards']} shards, "
        f"{count['bytes'] / 2**20:.1f} MiB"
        for split, count in result.counts.items()
    )


def _files_of(folder: Path) -> set[str]:
    """The names of the files that an older set of shards consists of."""
    names = {INDEX_FILE, REPORT_FILE}
    try:
        index: Any = json.loads((folder / INDEX_FILE).read_bytes())
        return names | {str(shard["file"]) for shard in index["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return names  # nothing of ours is there: any file is somebody else's
