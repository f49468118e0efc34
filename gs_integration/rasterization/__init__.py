"""Splats to pictures, differentiably: one function and three backends (float64 torch, numba, gsplat)."""
