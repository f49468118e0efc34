import shutil
from pathlib import Path

import numpy as np
import pytest

from distill_core.errors import UserError
from renderers.meshes import load_mesh
from renderers.training.packed_models import PackedModels, training_models


def test_splits_are_those_of_the_index(shared_assets: Path) -> None:
    models = PackedModels(shared_assets / "models")
    assert [len(models.rows([split])) for split in ("train", "val", "shape")] == [1296, 100, 782]
    names = [{row.name for row in models.rows([split])} for split in ("train", "val", "shape")]
    assert not names[0] & names[1]
    assert not names[2] & names[1]


@pytest.mark.parametrize("splits", [["val"], ["train", "val"], ["test"], ["shape", "Val"]])
def test_held_out_models_are_never_trained_on(splits: list[str], shared_assets: Path) -> None:
    with pytest.raises(UserError, match="held out"):
        training_models(shared_assets / "models", splits)


def test_models_lie_in_the_unit_ball_as_the_index_says(shared_assets: Path) -> None:
    models = PackedModels(shared_assets / "models")
    for row in models.rows(["train", "val", "shape"])[::97]:
        mesh = models.load(row.name)
        assert mesh.name == row.name
        assert len(mesh.faces) == row.triangles
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-5)
        assert len(mesh.base_colours) == 1
        assert mesh.corner_colours is None
        assert (mesh.base_colours[0][..., 3] == 255).all()


def test_a_packed_model_is_the_file_that_lies_elsewhere(shared_assets: Path) -> None:
    packed = PackedModels(shared_assets / "models").load("ycb_037_scissors")
    alone = load_mesh(shared_assets / "mixed_formats" / "ycb_037_scissors.glb")
    np.testing.assert_array_equal(packed.vertices, alone.vertices)
    np.testing.assert_array_equal(packed.base_colours[0], alone.base_colours[0])


def test_unknown_names_and_broken_folders_are_said(shared_assets: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no_such_model"):
        PackedModels(shared_assets / "models").load("no_such_model")
    with pytest.raises(UserError, match=r"index\.csv"):
        PackedModels(tmp_path)
    (tmp_path / "index.csv").write_text("name,split\nchair,train\n")
    with pytest.raises(UserError, match="columns"):
        PackedModels(tmp_path)
    shutil.copy(shared_assets / "models" / "index.csv", tmp_path / "index.csv")
    models, rows = training_models(tmp_path, ["train"])
    with pytest.raises(UserError, match="tar"):
        models.load(rows[0].name)
    (tmp_path / rows[0].tar).write_bytes(b"no tar" * 200)
    with pytest.raises(UserError, match="tar"):
        models.load(rows[0].name)
    for triangles, tar in (("many", "e.tar"), ("7", "../e.tar"), ("", "e.tar")):
        (tmp_path / "index.csv").write_text(
            f"name,split,source,licence,author,triangles,tar\na,train,b,c,d,{triangles},{tar}\n"
        )
        with pytest.raises(UserError, match="line 2"):
            PackedModels(tmp_path)
