"""YAML without what makes a small file stand for more than any memory holds, or parse for hours."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import yaml

MOST_VALUES = 100_000
"""What a file may stand for once its aliases are followed."""


DEEPEST = 200
"""Brackets open at once; the parser looks through all of them at each token."""

BYTES = 2**20
"""More than any script's arguments have."""


def read_yaml(text: str) -> Any:
    """Return plain values.

    Raises:
        ValueError: If aliases nest to more values than ``MOST_VALUES`` or hold themselves, or
            brackets nest deeper than ``DEEPEST``.
        yaml.YAMLError: If it is no YAML, or names objects of Python.
    """
    if max(accumulate(_STEPS.get(character, 0) for character in text), default=0) > DEEPEST:
        raise ValueError(f"it is nested too deeply, more than {DEEPEST} brackets")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None and _count(node, {}) > MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
    return yaml.safe_load(text)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, each alias counted as what it names."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_VALUES + 1  # what it is worth within itself
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    nodes = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
    known[id(node)] = 1 + sum(_count(part, known) for part in nodes)
    return known[id(node)]


_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
