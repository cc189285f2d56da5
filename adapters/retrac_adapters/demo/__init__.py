"""The demo: a diffusion model trained on digits and a few photo patches, and its attribution."""
