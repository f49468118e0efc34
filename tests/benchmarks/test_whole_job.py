"""The table of the whole job says what was written and what was not."""

from benchmarks.whole_job import table


def _row(name: str, psnr: float | None, *missing: str) -> dict[str, object]:
    return {"picture": name, "missing": list(missing), "source_psnr": psnr}


def test_rendered_models_have_a_row_and_their_variants_a_column() -> None:
    rows = [_row("a_cow_alpha", 30.5), _row("a_cow_grey", None, "splats.ply"), _row("a_cow_white", 28.0)]
    shown = table({"pictures": rows, "complete": 2, "median_source_psnr": 29.25}).splitlines()
    assert shown[0] == "| PSNR against the picture (dB) | alpha | white | grey |"
    assert shown[2] == "| a_cow | 30.50 | 28.00 | without splats.ply |"
    assert shown[-1] == "All files written: 2 of 3; median 29.25 dB."


def test_pictures_of_a_folder_have_a_row_each() -> None:
    rows = [_row("apples", 30.0), _row("white_alpha_grey_cat", 20.0)]
    shown = table({"pictures": rows, "complete": 2, "median_source_psnr": 25.0}).splitlines()
    assert shown[2:4] == ["| apples | 30.00 |", "| white_alpha_grey_cat | 20.00 |"]
