"""Filling a store with many machines, by the schedulers that people have."""
