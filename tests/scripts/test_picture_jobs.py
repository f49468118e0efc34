from pathlib import Path

import pytest

from scripts.picture_jobs import result_names


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["cup.jpg", "vase.png"], ["cup", "vase"]),
        (["a.jpg", "A.png"], ["a.jpg", "A.png"]),
        (["a.jpg", "a.png", "a.png.png"], ["a.jpg", "a.png", "a.png.png"]),
        (["report.json.png"], ["report.json.png"]),
    ],
)
def test_each_picture_has_a_folder_of_its_own(files: list[str], names: list[str]) -> None:
    assert result_names([Path(file) for file in files]) == names
