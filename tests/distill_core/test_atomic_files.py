import subprocess
import sys
from pathlib import Path

import pytest

from distill_core.atomic_files import write_text


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    imports = "from pathlib import Path; from distill_core.atomic_files import write_text; "
    code = imports + "write_text('St\\u00fchle', Path('a.txt'))"
    environment = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "a.txt").read_bytes() == "St\u00fchle".encode()


def test_what_was_there_stays_where_the_new_text_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text("before", file)
    with pytest.raises(UnicodeEncodeError):
        write_text("\ud800", file)  # no UTF-8
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "before"
