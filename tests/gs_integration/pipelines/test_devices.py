import logging
import sys
from pathlib import Path

import pytest
import torch

from gs_integration.pipelines import devices


@pytest.fixture(autouse=True)
def _asked_anew():
    devices._gsplat_problem.cache_clear()
    yield
    devices._gsplat_problem.cache_clear()


def test_the_cpu_stays_the_cpu() -> None:
    assert devices.splat_device(torch.device("cpu")) == torch.device("cpu")


def test_a_gsplat_that_cannot_draw_is_told_from_one_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As gsplat is without the CUDA toolkit: it imports, and what it compiles is missing.
    (tmp_path / "gsplat").mkdir()
    (tmp_path / "gsplat" / "__init__.py").write_text("def rasterization(**given):\n    return None.compiled(given)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gsplat", raising=False)
    with caplog.at_level(logging.WARNING):
        assert devices.splat_device(torch.device("cuda")) == torch.device("cpu")
    assert "gsplat does not work here" in caplog.text
    assert "CUDA toolkit" in caplog.text
