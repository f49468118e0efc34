from pathlib import Path

import pytest

from benchmarks import texture_methods
from benchmarks.texture_methods import METHODS, Settings, method_settings, run, table
from distill_core.errors import UserError
from distill_core.synchronization.strategies import STRATEGY_NAMES


def settings(shared_assets: Path, folder: Path, **changes) -> Settings:
    values = {"limit": 1, "shown": 1, "num_views": 3, "texture_size": 64, "steps": (1,), **changes}
    return Settings(models=shared_assets / "models", folder=folder, **values)


def test_methods_are_compared_and_a_second_run_measures_only_what_is_new(
    shared_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings(shared_assets, tmp_path, methods=("instance-clean",)))
    measured = []
    original = texture_methods.method_settings
    monkeypatch.setattr(
        texture_methods, "method_settings", lambda *given: measured.append(given[1:]) or original(*given)
    )
    result = run(settings(shared_assets, tmp_path, methods=("instance-clean", "none")))
    assert measured == [("none", 1)]
    assert [(row["method"], row["models"]) for row in result["methods"]] == [("instance-clean", 1), ("none", 1)]
    for row in result["methods"]:
        # Front, back and one side of a known object: nearer than grey noise, no copy.
        assert 12 < row["psnr_inside"] < row["psnr"] < 40
        assert 0.3 < row["ssim"] < 1
    text = table(result)
    assert text.count("\n") == 3
    assert "| none | 1 |" in text
    assert (tmp_path / "comparison.png").exists()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_setting_of_the_pipeline(method: str, tmp_path: Path) -> None:
    told = method_settings(settings(tmp_path, tmp_path), method, 4)
    assert told.strategy == (method if method in STRATEGY_NAMES else "instance-clean")
    if method == "score-distillation":
        assert (told.distillation_steps, told.generator.steps) == (4, 1)  # it draws single steps
        return
    assert told.generator.steps == 4
    assert told.generator.sampler == "ddim"
    assert method_settings(settings(tmp_path, tmp_path), method, 1).generator.sampler == "consistency"


def test_methods_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got guesswork"):
        run(settings(tmp_path, tmp_path, methods=("guesswork",)))
