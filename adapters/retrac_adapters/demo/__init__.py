"""The demo: a diffusion model of pieces of photographs and a few digits, and its attribution.

Uses nothing of retrac-plugin that a reader could not use.
"""
