"""Posed views to splats: where they begin, what they are compared by, how they move, split and vanish."""
