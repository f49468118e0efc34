import os
import sys
from pathlib import Path

import pytest

from benchmarks.backed_memory import BackedMemory


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what is free in which pieces")
def test_free_memory_is_in_small_pieces_until_it_is_left() -> None:
    before = _free_bytes_in_small_pieces()
    wanted = before + (1 << 27)
    if 2 * wanted > os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        pytest.skip(f"{before / 1e9:.1f} GB, most of what is free, is in small pieces already")
    with BackedMemory(wanted / (1 << 30)) as memory:
        assert memory._holder is not None
        process = memory._holder.pid
        # Other programs take and give meanwhile; before, an eighth of a gibibyte less was there.
        assert _free_bytes_in_small_pieces() > wanted - (1 << 26)
        resident = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < wanted / 10 + (1 << 26)
    assert not Path(f"/proc/{process}").exists()


def _free_bytes_in_small_pieces() -> int:
    """Counted by the system in blocks of less than 1 MB (proc(5), buddyinfo)."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return sum(
        (page_bytes << order) * int(blocks)
        for line in Path("/proc/buddyinfo").read_text().splitlines()
        for order, blocks in enumerate(line.split()[4:])
        if page_bytes << order < 1 << 20
    )
