"""Checks and measures attribution on a GPU, on the day that one can be had."""
