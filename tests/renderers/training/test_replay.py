"""Renderings met again: each once a round, the same after a restart."""

import pytest

from renderers.training.replay import Replay


def test_every_round_meets_every_rendering_once_in_an_order_of_its_own():
    rendered = []

    def render(place: int) -> int:
        rendered.append(place)
        return place

    replay = Replay(render, 12, seed=3)
    rounds = [[replay.at(12 * number + place) for place in range(12)] for number in range(5)]
    assert rounds[0] == list(range(12))
    assert all(sorted(one) == list(range(12)) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 5
    assert rendered == list(range(12))


def test_a_restart_in_the_middle_meets_the_same():
    def render(place: int) -> str:
        return f"rendering {place}"

    whole, restarted = Replay(render, 7, seed=1), Replay(render, 7, seed=1)
    assert [restarted.at(index) for index in range(17, 40)] == [whole.at(index) for index in range(40)][17:]


@pytest.mark.parametrize("index", [0, 5, 10**9])
def test_without_a_limit_every_index_is_rendered(index: int):
    assert Replay(lambda place: place, None, seed=0).at(index) == index
