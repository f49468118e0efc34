"""Several diffusion processes joined through one canonical space: strategies, projections, one loop."""
