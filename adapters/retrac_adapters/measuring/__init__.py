"""Measures what the engine costs."""
