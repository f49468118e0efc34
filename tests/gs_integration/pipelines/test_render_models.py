from pathlib import Path

import numpy as np
import trimesh

from distill_core.records.multi_view_record import read_record
from tests.scripts.processes import run_program

WITHOUT_FCNTL = """
import sys
from distill_core.errors import UserError
sys.modules["fcntl"] = None  # as on Windows
from pathlib import Path
from distill_core.progress import SilentProgress
from gs_integration.pipelines.render_models import render_models
from gs_integration.pipelines.render_models_settings import RenderModelsSettings
from gs_integration.pipelines.report import recorded_run
from renderers.blender.settings import RigSettings
views = RigSettings(rig="orbit", num_views=2, resolution=32)
settings = RenderModelsSettings(renderer=sys.argv[3], views=views)
try:
    with recorded_run(SilentProgress()) as run:
        print(render_models(Path(sys.argv[1]), Path(sys.argv[2]), settings, run).records)
except UserError as error:
    print(error)
"""


def test_the_fast_renderer_works_where_there_is_no_fcntl(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "models" / "ball.ply")
    arguments = ["-c", WITHOUT_FCNTL, str(tmp_path / "models"), str(tmp_path / "out")]
    assert run_program([*arguments, "fast"]) == (0, "['ball.ply']\n", "")
    record = read_record(tmp_path / "out" / "ball.ply")
    assert len(record) == 2
    # The unit ball touches the edges of the picture: a disk in its square. Its faces lie 0.4 % of the radius inside of
    # it at most, and its rim of 100 pixels is right to a tenth of a pixel.
    covered = np.asarray(record.pictures)[:, 3].mean(axis=(1, 2))
    np.testing.assert_allclose(covered, np.pi / 4, atol=2 * 0.004 * np.pi / 4 + 100 * 0.1 / 32**2)


def test_rendering_through_blender_without_fcntl_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    trimesh.creation.box().export(tmp_path / "models" / "box.ply")
    arguments = ["-c", WITHOUT_FCNTL, str(tmp_path / "models"), str(tmp_path / "out"), "blender"]
    status, said, error = run_program(arguments)
    assert (status, error) == (0, "")
    assert said.endswith("got a system without fcntl; choose the fast renderer.\n")
