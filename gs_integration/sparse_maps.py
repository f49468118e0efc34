"""A fixed linear map as a sparse matrix, fast in both directions and differentiable."""

import warnings
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor


class SparseMap:
    """Multiplies [columns, C] by a sparse matrix to [rows, C].

    Both the matrix and its transpose are kept in rows, the transpose from the first time that it is needed.

    Args:
        matrix: [rows, columns], of real numbers; entries given twice are added up.
    """

    def __init__(self, matrix: csr_matrix) -> None:
        matrix.sum_duplicates()
        self.matrix = matrix
        self._tensors: dict[tuple[str, torch.device], Tensor] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return cast(tuple[int, int], self.matrix.shape)

    @property
    def num_bytes(self) -> int:
        """Memory of the matrix itself."""
        return self.matrix.data.nbytes + self.matrix.indices.nbytes + self.matrix.indptr.nbytes

    @cached_property
    def _transposed(self) -> csr_matrix:
        return self.matrix.T.tocsr()

    def __call__(self, values: Float[Tensor, "columns channels"]) -> Float[Tensor, "rows channels"]:
        """Map values [columns, C], any C, on their device; gradients pass.

        Args:
            values: one row a column of the matrix.
        """
        return _Product.apply(values, self, False)

    def back(self, values: Float[Tensor, "rows channels"]) -> Float[Tensor, "columns channels"]:
        """Multiply values [rows, C] by the transposed matrix; gradients pass.

        Args:
            values: one row a row of the matrix.
        """
        return _Product.apply(values, self, True)

    def product(self, values: Tensor, *, transposed: bool) -> Tensor:
        """Multiply by the matrix or its transpose, without a gradient.

        Args:
            values: [columns, C], or [rows, C] for the transpose.
            transposed: which of the two.
        """
        key = ("transposed" if transposed else "straight", values.device)
        if key not in self._tensors:
            self._tensors[key] = _tensor(self._transposed if transposed else self.matrix).to(values.device)
        return self._tensors[key] @ values.to(torch.float32)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, sparse_map: SparseMap, transposed: bool) -> Tensor:
        ctx.sparse_map, ctx.dtype, ctx.transposed = sparse_map, values.dtype, transposed
        return sparse_map.product(values, transposed=transposed).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = ctx.sparse_map.product(gradients[0].contiguous(), transposed=not ctx.transposed)
        return gradient.to(ctx.dtype), None, None


def _tensor(matrix: csr_matrix) -> Tensor:
    with warnings.catch_warnings():
        # torch calls its rows-compressed tensors a beta; their product with a dense matrix is all that is used.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            matrix.shape,
            check_invariants=True,
        )
