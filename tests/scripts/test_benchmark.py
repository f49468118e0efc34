import json
import sys
from pathlib import Path

import pytest

import benchmarks
from distill_core.progress import SilentProgress
from scripts.benchmark import benchmark_names, command_type, main
from scripts.command_line import parse

BENCHMARK = '''
"""Count sheep.

At length.
"""

from pydantic import BaseModel, Field


class Settings(BaseModel):
    sheep: int = Field(default=3, description="how many")


def run(settings):
    return {{"{name}": settings.sheep}}


def table(result):
    return "| {name} |"
'''


@pytest.fixture
def two_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("asleep", "awake"):
        (tmp_path / f"{name}.py").write_text(BENCHMARK.format(name=name))
        monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    (tmp_path / "kernels.py").write_text('"""No benchmark."""\n')
    monkeypatch.setattr(benchmarks, "__path__", [str(tmp_path)])


@pytest.mark.usefixtures("two_benchmarks")
def test_a_benchmark_is_found_run_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_names() == ["asleep", "awake"]
    file = tmp_path / "below" / "figures.json"
    settings = parse(
        command_type("asleep") | command_type("awake"), arguments=["awake", "--sheep", "5", "--output", str(file)]
    )
    main(settings, SilentProgress())
    written = json.loads(file.read_text())
    assert written["benchmark"] == "awake"
    assert written["result"] == {"awake": 5}
    assert written["settings"] == {"sheep": 5}
    assert written["machine"]["cores"] >= 1
    assert "| awake |" in capsys.readouterr().out


def test_benchmarks_import_nothing_slow() -> None:
    import subprocess

    code = "import sys, scripts.benchmark as program; program.benchmark_names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
