import mmap
import re
import sys
from pathlib import Path

import pytest

from benchmarks.backed_memory import BackedMemory


@pytest.mark.skipif(sys.platform != "linux", reason="what is kept is read from Linux's proc(5)")
def test_one_page_of_each_piece_is_kept_until_it_is_left() -> None:
    """The system's own account: 64 MiB mapped, a page of each of its 128 pieces of half a MiB resident."""
    with BackedMemory(1 / 16) as memory:
        assert memory._holder is not None
        process = memory._holder.pid
        mappings = Path(f"/proc/{process}/smaps").read_text()
    (resident,) = re.findall(r"^Size: +65536 kB(?:\n\w+:.*)*?\nRss: +(\d+) kB$", mappings, re.MULTILINE)
    assert int(resident) * 1024 == 128 * mmap.PAGESIZE
    assert not Path(f"/proc/{process}").exists()


def test_nothing_is_kept_where_nothing_is_asked_for() -> None:
    with BackedMemory(0.0) as memory:
        assert memory._holder is None
