"""Diffusion-TracIn and Diffusion-ReTrac: from gradients to scores."""
