"""The demo: a diffusion model trained on digits and a few photo patches, and its attribution.

Uses nothing of retrac-plugin that a reader could not use.
"""
