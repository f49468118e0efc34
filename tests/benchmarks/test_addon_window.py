from pathlib import Path

import numpy as np
import pytest

from benchmarks import addon_window
from distill_core.errors import UserError


def test_a_viewport_that_shows_nothing_new_is_refused() -> None:
    before = np.full((10, 20, 3), 0.25, np.float32)
    after = before.copy()
    after[:2, :5, 0] = 0.75
    assert addon_window._changed(before, after, "splats") == 0.05
    with pytest.raises(UserError, match=r"Expected to see the splats in the viewport, but only 0.0%"):
        addon_window._changed(before, before + 0.05, "splats")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.sh is not there"):
        addon_window.run(addon_window.Settings(window_program=tmp_path / "no.sh"))
