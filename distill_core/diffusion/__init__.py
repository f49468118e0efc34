"""The language of diffusion: schedules, parameterizations, samplers, guidance; one Denoiser contract."""
