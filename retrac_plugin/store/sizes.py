"""How a store is cut, unless told otherwise; imports nothing, since the command line shows it."""

SHARD_SAMPLES = 1024
"""Samples in a shard: what is computed again after an interruption."""
