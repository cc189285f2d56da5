"""Metrics."""

ENTRIES = ()
