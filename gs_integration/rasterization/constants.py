"""The numbers that every backend shares; those of gsplat 1.5."""

NEAR_PLANE = 0.01
FAR_PLANE = 1e10

ADDED_VARIANCE_PX2 = 0.3
"""Added to the projected covariance's diagonal, so that no splat falls between the pixels."""

HIGHEST_ALPHA = 0.999
LOWEST_ALPHA = 1 / 255
"""A splat's alpha at a pixel is capped at the one and ignored below the other."""

LOWEST_TRANSMITTANCE = 1e-4
"""A pixel is closed, excluding the splat at hand, where its transmittance would fall to this."""

FRUSTUM_MARGIN = 0.15
"""Share of the picture's side beyond its edge up to which the projection is linearised at the splat's own place."""
