"""Checkpoints, their weight files, and what scales their gradients."""
