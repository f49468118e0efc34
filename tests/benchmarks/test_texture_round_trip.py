from pathlib import Path

import pytest

from benchmarks.evaluation_models import evaluation_meshes
from benchmarks.texture_round_trip import Settings, round_trip, run, table
from distill_core.errors import UserError


def test_a_known_texture_comes_back_from_its_views(shared_assets: Path) -> None:
    settings = Settings(
        models=shared_assets / "eval",
        names=("fuze_fuze",),
        num_views=12,
        num_other_views=3,
        resolution=160,
        texture_size=512,
    )
    ((name, mesh),) = evaluation_meshes(settings.models, settings.names)
    figures = round_trip(name, mesh, settings).figures
    # Letters of two pixels are at the limit of these small views; the full-size claim is 30 dB.
    assert figures["psnr"] > 30
    assert figures["compared_share"] > 0.95
    assert figures["surface_seen"] > 0.95
    text = table({"models": [figures]})
    assert f"| {figures['psnr']:.1f} |" in text


def test_models_that_are_not_there_are_named(tmp_path: Path, shared_assets: Path) -> None:
    with pytest.raises(UserError, match="got unicorn"):
        run(Settings(models=shared_assets / "eval", names=("unicorn",)))
    with pytest.raises(UserError, match="is not there"):
        run(Settings(models=tmp_path))
