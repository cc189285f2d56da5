"""Latent models: images and captions as training encoded them."""
