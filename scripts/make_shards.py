"""Pack records into webdataset shards: uncompressed tars and shards.json with counts, byte offsets and hashes.

The set appears when it is complete. A share of the objects is held out by their hashes, in shards named val.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.shard_settings import ShardSettings
from scripts.command_line import USER_ERROR_STATUS, run, say


class MakeShards(ShardSettings):
    """Command line of this program."""

    records_dir: Annotated[Path, tyro.conf.Positional] = Field(description="folder of the records")
    output_dir: Path = Field(description="folder of the shards, shards.json and report.json")


def main(settings: MakeShards, progress: Progress) -> int:
    """Pack, and say what is in the shards."""
    from gs_integration.pipelines.make_shards import make_shards, table
    from gs_integration.pipelines.report import recorded_run

    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        result = make_shards(settings.records_dir, settings, settings.output_dir, record)
    say(table(result))
    for name, reason in result.left_out.items():
        say(f"left out {name}: {reason}")
    say(f"wrote {settings.output_dir}")
    return USER_ERROR_STATUS if result.left_out else 0


if __name__ == "__main__":
    run(main, MakeShards, description=__doc__)
