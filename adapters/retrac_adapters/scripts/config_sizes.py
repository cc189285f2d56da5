"""What a configuration asks for, before anything is built by it."""

from __future__ import annotations

from typing import Any

LARGEST = 2**20
"""No width, side or number of timesteps of a model is larger."""

MOST_LAYERS = 1000
"""No model has more of them in a block, or more blocks; each is built in turn."""


def check_sizes(config: Any, name: str = "", depth: int = 0) -> None:
    """Refuse numbers by which building a model would not end, or fill the memory.

    Args:
        config: A configuration as JSON has it.
        name: What it is called within a larger one.
        depth: How deep it lies there.

    Raises:
        ValueError: If there is one.
    """
    most = MOST_LAYERS if "layers" in name else LARGEST
    if isinstance(config, int) and abs(config) > most:
        raise ValueError(f"{name} is {config}, more than {most:,}")
    if isinstance(config, (list, dict)) and (len(config) > MOST_LAYERS or depth > _DEEPEST):
        raise ValueError(f"{name or 'the configuration'} has {len(config)} parts at depth {depth}")
    if isinstance(config, list):
        for value in config:
            check_sizes(value, name, depth + 1)
    if isinstance(config, dict):
        for key, value in config.items():
            check_sizes(value, key, depth + 1)


_DEEPEST = 8
