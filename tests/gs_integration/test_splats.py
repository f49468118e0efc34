from dataclasses import replace

import pytest
import torch

from gs_integration.splats import Splats, concatenate, harmonics_from_colours


@pytest.fixture
def splats() -> Splats:
    return Splats(
        means=torch.randn(5, 3),
        quaternions_wxyz=torch.randn(5, 4),
        log_scales=torch.randn(5, 3),
        opacity_logits=torch.randn(5),
        harmonics=torch.randn(5, 4, 3),
    )


def test_colours_survive_the_harmonics(splats: Splats) -> None:
    colours = torch.rand(5, 3)
    splats = replace(splats, harmonics=harmonics_from_colours(colours))
    torch.testing.assert_close(splats.base_colours, colours, rtol=0, atol=1e-6)
    assert splats.sh_degree == 0


def test_degree_rises_with_zeros_and_falls_by_cutting(splats: Splats) -> None:
    raised = splats.with_sh_degree(3)
    assert raised.sh_degree == 3
    assert torch.equal(raised.harmonics[:, :4], splats.harmonics)
    assert not raised.harmonics[:, 4:].any()
    assert torch.equal(raised.with_sh_degree(1).harmonics, splats.harmonics)


def test_parts_join_to_the_whole(splats: Splats) -> None:
    mask = torch.tensor([True, False, True, True, False])
    joined = concatenate([splats.select(mask), splats.select(~mask)])
    order = torch.cat([mask.nonzero(), (~mask).nonzero()])[:, 0]
    assert torch.equal(joined.means, splats.means[order])
    assert len(joined) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"means": torch.zeros(4, 3)}, {"harmonics": torch.zeros(5, 5, 3)}, {"means": torch.zeros(5, 3).double()}],
)
def test_tensors_that_do_not_belong_together_are_refused(splats: Splats, wrong: dict[str, torch.Tensor]) -> None:
    # Under the tests' shape checks the annotations refuse first what they can express.
    with pytest.raises((ValueError, TypeError)):
        replace(splats, **wrong)
