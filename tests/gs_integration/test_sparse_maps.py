import numpy as np
import torch
from scipy.sparse import csr_matrix, random_array

from gs_integration.sparse_maps import SparseMap


def a_matrix() -> csr_matrix:
    return csr_matrix(random_array((30, 50), density=0.1, rng=np.random.default_rng(0), dtype=np.float32))


def test_products_are_those_of_the_dense_matrix() -> None:
    matrix = a_matrix()
    values = torch.randn(50, 4)
    torch.testing.assert_close(SparseMap(matrix)(values), torch.from_numpy(matrix.toarray()) @ values)


def test_entries_given_twice_add_up() -> None:
    twice = csr_matrix((np.array([1.0, 2.0], np.float32), np.array([1, 1]), np.array([0, 2])), (1, 3))
    assert SparseMap(twice)(torch.tensor([[1.0], [10.0], [100.0]])).item() == 30


def test_gradients_are_those_of_the_dense_matrix() -> None:
    matrix = a_matrix()
    values, cotangent = torch.randn(50, 2, requires_grad=True), torch.randn(30, 2)
    (SparseMap(matrix)(values) * cotangent).sum().backward()
    torch.testing.assert_close(values.grad, torch.from_numpy(matrix.toarray()).T @ cotangent)


def test_the_way_back_is_the_transposed_matrix_and_so_are_its_gradients() -> None:
    matrix = a_matrix()
    dense = torch.from_numpy(matrix.toarray())
    values, cotangent = torch.randn(30, 2, requires_grad=True), torch.randn(50, 2)
    product = SparseMap(matrix).back(values)
    torch.testing.assert_close(product, dense.T @ values)
    (product * cotangent).sum().backward()
    torch.testing.assert_close(values.grad, dense @ cotangent)
