"""Measures every registered attributor on one small run: ``python -m`` this."""
