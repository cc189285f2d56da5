"""The timestep-aware model: a denoiser, its noise schedule, its loss."""
