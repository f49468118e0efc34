import json
import logging
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from distill_core.progress import SilentProgress
from gs_integration.pipelines.report import recorded_run, write_json


class Settings(BaseModel):
    seed: int = 7


def test_the_report_repeats_what_was_said_and_done():
    with recorded_run(SilentProgress(), command="python x.py", checkpoint={"name": "small", "sha256": "ab"}) as run:
        run.progress.stage("views", 1)
        logging.getLogger("distill_core.pictures.images").warning("%d frames", 4)
        logging.getLogger("distill_core.pictures.images").warning("%d frames", 4)
        run.progress.stage("fit", None)
        report = run.report(Settings(), elevation_degrees=20.0)
    assert report["command"] == "python x.py"
    assert report["checkpoint"] == {"name": "small", "sha256": "ab"}
    assert report["settings"] == {"seed": 7}
    assert report["elevation_degrees"] == 20.0
    assert report["warnings"] == ["4 frames"]
    seconds = report["seconds"]
    assert isinstance(seconds, dict)
    assert list(seconds) == ["views", "fit", "total"]


def test_warnings_of_another_job_stay_out():
    with recorded_run(SilentProgress()) as run:
        pass
    logging.getLogger("gs_integration").warning("later")
    assert run.warnings == []


def test_json_holds_no_words_that_other_readers_refuse(tmp_path: Path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [np.float32(0.5), float("inf")], "c": "é"})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == {"a": None, "b": [0.5, None], "c": "é"}
