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

SH_BAND_1 = 0.4886025119029199
SH_BAND_2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
SH_BAND_3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)
"""Factors of the real spherical harmonics of band 1, 2 and 3, in the order of the 3D Gaussian Splatting paper's code.

They are sqrt(3/4pi); sqrt(15/4pi), sqrt(5/16pi), sqrt(15/16pi); sqrt(35/32pi), sqrt(105/4pi), sqrt(21/32pi),
sqrt(7/16pi), sqrt(105/16pi)."""
