from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.errors import UserError
from distill_core.pictures.images import Picture
from distill_core.pictures.matting import remove_background
from distill_core.pictures.pretrained_matting import matting_model, refined_coverage, trimap_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViTMatte of the real class, written as published ones are."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'pretrained'")
    torch.manual_seed(0)
    backbone = transformers.VitDetConfig(
        image_size=64,
        pretrain_image_size=64,
        patch_size=16,
        num_channels=4,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        window_block_indices=[0],
        residual_block_indices=[],
        out_features=["stage2"],
        use_relative_position_embeddings=True,
        window_size=4,
    )
    config = transformers.VitMatteConfig(
        backbone_config=backbone,
        hidden_size=24,
        fusion_hidden_sizes=[16, 8, 8, 4],
        convstream_hidden_sizes=[8, 8, 12],
    )
    folder = tmp_path_factory.mktemp("vitmatte")
    transformers.VitMatteForImageMatting(config).save_pretrained(folder)
    return folder


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray]:
    """A picture [70, 90, 3] of a red ball on white, and the ball's mask."""
    rows, columns = np.indices((70, 90))
    mask = np.hypot(rows - 35, columns - 45) < 22
    return np.where(mask[..., None], [0.8, 0.1, 0.1], [1.0, 1.0, 1.0]).astype(np.float32), mask


def test_the_trimap_is_unknown_along_the_edge_alone(ball: tuple[np.ndarray, np.ndarray]) -> None:
    trimap = trimap_of(ball[1])
    assert set(np.unique(trimap)) == {0, 0.5, 1}
    assert ball[1][trimap == 1].all()
    assert not ball[1][trimap == 0].any()
    rows, columns = np.nonzero(trimap == 0.5)
    assert np.abs(np.hypot(rows - 35, columns - 45) - 22).max() < 4


def test_the_model_decides_where_the_trimap_does_not(checkpoint: Path, ball: tuple[np.ndarray, np.ndarray]) -> None:
    model = matting_model(str(checkpoint))
    coverage = refined_coverage(model, *ball)
    trimap = trimap_of(ball[1])
    assert (coverage[trimap == 1] == 1).all()
    assert (coverage[trimap == 0] == 0).all()
    # The same through the published processor's preparation: mean and deviation 0.5, padding to multiples of 32.
    pixels = np.zeros((1, 4, 96, 96), np.float32)
    pixels[0, :3, :70, :90] = (ball[0].transpose(2, 0, 1) - 0.5) / 0.5
    pixels[0, 3, :70, :90] = trimap
    with torch.no_grad():
        expected = model(pixel_values=torch.from_numpy(pixels)).alphas[0, 0, :70, :90].numpy()
    unknown = trimap == 0.5
    np.testing.assert_allclose(coverage[unknown], expected[unknown], atol=1e-5)
    assert np.ptp(coverage[unknown]) > 0


def test_a_model_is_a_method_of_removing_backgrounds(checkpoint: Path, ball: tuple[np.ndarray, np.ndarray]) -> None:
    rgba = np.concatenate([ball[0].transpose(2, 0, 1), np.ones((1, 70, 90), np.float32)])
    matte = remove_background(Picture(rgba, has_alpha=False), method=str(checkpoint))
    assert matte.method == str(checkpoint)
    assert matte.rgba[3, 35, 45] == 1
    assert matte.rgba[3, 2, 2] == 0


def test_a_folder_without_a_vitmatte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        matting_model(str(tmp_path))
    pytest.importorskip("transformers", reason="needs the extra 'pretrained'")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="kind 'bert'"):
        matting_model(str(tmp_path))


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UserError, match=r"onestep3d\[pretrained\]"):
        matting_model("hustvl/vitmatte-small-composition-1k")
