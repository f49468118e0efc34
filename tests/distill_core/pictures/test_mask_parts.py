import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from distill_core.pictures.mask_parts import connected_parts, main_parts


@given(arrays.arrays(np.bool_, (9, 12)))
def test_parts_are_those_of_scipy(mask: np.ndarray) -> None:
    for parts, structure in (
        (connected_parts(mask, connectivity=4), ndimage.generate_binary_structure(2, 1)),
        (connected_parts(mask, connectivity=8), ndimage.generate_binary_structure(2, 2)),
    ):
        labels = np.zeros(mask.shape, np.int32)
        ndimage.label(mask, structure, output=labels)
        assert len(parts.areas) == labels.max() + 1
        for label in range(1, labels.max() + 1):
            ours = np.unique(parts.labels[labels == label])
            assert len(ours) == 1
            assert parts.areas[ours[0]] == np.count_nonzero(labels == label)
        assert parts.areas[0] == 0


def test_small_parts_are_dropped() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[15:17, 15:17] = True
    np.testing.assert_array_equal(main_parts(mask, 0.02), mask)
    assert main_parts(mask, 0.1).sum() == 100
    assert not main_parts(np.zeros((4, 4), bool), 0.1).any()
