from pathlib import Path

import pytest

from benchmarks.splats import Settings, run, table


def test_both_rasterizers_agree_and_all_figures_are_there(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    settings = Settings(
        num_splats=300,
        resolution=40,
        rounds=1,
        torch_rounds=1,
        plot_splats=(100, 200),
        plot_resolutions=(32,),
        plot=tmp_path / "plot.png",
    )
    result = run(settings)
    # Where a pixel closes one splat sooner, what follows adds less than 1e-4 a channel.
    assert result["comparison"]["picture_difference"] < 3e-4
    assert result["comparison"]["gradient_difference"] < 1e-3
    assert [row["num_splats"] for row in result["curves"]] == [100, 200]
    assert all(row["peak_mb"] > 0 for row in result["curves"])
    assert table(result).count("\n| ") >= 6
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
