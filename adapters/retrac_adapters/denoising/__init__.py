"""Denoisers and noise schedulers of diffusers as timestep-aware models."""
