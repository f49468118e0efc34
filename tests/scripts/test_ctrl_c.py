"""Ctrl-C in the programs themselves, while they load what they need or work."""

from pathlib import Path

import pytest

from tests.scripts.processes import REPOSITORY, allowed_seconds, interrupt, start_program
from tests.scripts.test_every_script import PROGRAMS

# How to start each program on a job of minutes; {assets} and {out} stand for folders.
LONG_JOBS = {
    "scripts/benchmark.py": ["fitting", "--models", "{assets}/eval", "--output", "{out}/figures.json"],
    "scripts/build_wheel.py": ["--output-dir", "{out}/dist"],
    "scripts/build_addon.py": [
        *["--output-dir", "{out}/dist", "--repository", "{out}/repository"],
        *["--blender", "tests/scripts/silent_program.sh"],
    ],
    "scripts/check_claims.py": [
        *["--only", "fitting", "--assets", "{assets}", "--measurements", "{out}/records"],
        *["--results", "{out}/results", "--readme", "{out}/README.md"],
    ],
    "scripts/convert_splats.py": ["{assets}/splats/biker.spz", "{out}/biker.spz"],
    "scripts/doctor.py": [],
    "scripts/evaluate.py": [
        "--data",
        "{assets}/val_views/val_views.tar",
        "--baseline",
        "copy",
        "--output-dir",
        "{out}",
    ],
    "scripts/fit_splats.py": ["{assets}/captures/nerf_synthetic_chair", "--output-dir", "{out}/splats"],
    "scripts/generate_views.py": ["{assets}/pictures/cat_statue.jpg", "--output-dir", "{out}/views"],
    "scripts/image_to_3dgs.py": ["{assets}/pictures", "--output-dir", "{out}/splats"],
    "scripts/import_records.py": [
        *["{assets}/captures/co3d_apple", "--cut-out", "grabcut", "--largest-side", "4096"],
        *["--output-dir", "{out}/records"],
    ],
    "scripts/inspect_record.py": ["{assets}/captures/fox", "--viewer", "--port", "18180", "--output-dir", "{out}/seen"],
    "scripts/make_shards.py": ["{assets}/captures", "--output-dir", "{out}/shards"],
    "scripts/render_dataset.py": [
        *["{assets}/mixed_formats", "--blender", "tests/scripts/silent_program.sh", "--output-dir", "{out}/records"],
    ],
    "scripts/synchronize.py": [
        *["panorama", "--checkpoint", "gaussian-field:{assets}/pictures/tulips.jpg"],
        *["--steps", "500", "--output-dir", "{out}/panorama"],
    ],
    "scripts/texture_mesh.py": [
        *["{assets}/eval/Duck.glb", "--image", "{assets}/pictures/toy_bus.png", "--steps", "500"],
        *["--output-dir", "{out}/textured"],
    ],
    "scripts/train.py": ["solid", "--data", "{assets}/models", "--output-dir", "{out}/run", "--max-minutes", "5"],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_ends_every_program(program: str, shared_assets: Path, tmp_path: Path) -> None:
    assert program in LONG_JOBS, f"say in LONG_JOBS how to start {program} on a long job"
    arguments = [argument.format(assets=shared_assets, out=tmp_path) for argument in LONG_JOBS[program]]
    process = start_program([str(REPOSITORY / program), *arguments], errors_with_output=True)
    assert process.stdout is not None
    first_line = process.stdout.readline()
    status, output, _, seconds = interrupt(process)
    assert status == 130, first_line + output
    assert "Traceback" not in output
    assert seconds < allowed_seconds(3.0)
