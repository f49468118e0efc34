from pathlib import Path

import pytest

from distill_core.errors import UserError
from renderers.blender.model_checks import check_model


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero_bytes.obj", "empty file"),
        ("truncated_chunk.glb", "incomplete"),
        ("nan_vertices.glb", "finite"),
        ("node_cycle.glb", "cycle"),
        ("deep_json_100000.glb", "nested too deep"),
        ("image_path_escapes.glb", "leads out"),
        ("huge_index.glb", "vertex 60000"),
        ("ply_count_2147483648.ply", "Gaussian splats"),
        ("point_cloud.ply", "point cloud"),
        ("truncated_binary.stl", "incomplete"),
    ],
)
def test_bad_files_are_told_before_blender_sees_them(name: str, reason: str, shared_assets: Path) -> None:
    with pytest.raises(UserError, match=reason):
        check_model(shared_assets / "bad_inputs" / name)


def test_good_files_of_every_kind_pass(shared_assets: Path) -> None:
    folder = shared_assets / "mixed_formats"
    for name in (
        "Fox.glb",
        "kaykit_oven/kaykit_oven.gltf",
        "ycb_025_mug.ply",
        "ycb_048_hammer.stl",
        "spot_quads/spot.obj",
    ):
        check_model(folder / name)


def test_what_is_no_blend_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.blend"
    file.write_bytes(b"not a blend file")
    with pytest.raises(UserError, match="Not a"):
        check_model(file)
    file.write_bytes(b"BLENDER-v405")
    check_model(file)
