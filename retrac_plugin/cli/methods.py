"""Which methods a command computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from retrac_plugin.cli.telling import tell

METHODS = ("diffusion-tracin", "diffusion-retrac")
BEST = "best"

methods = click.option(
    "--method",
    "methods",
    multiple=True,
    default=METHODS,
    show_default=True,
    help="A method that `retrac list` names; may be repeated. best: the one that our benchmarks "
    "favour at the training set's size.",
)


class Kinds(NamedTuple):
    """Methods by kind, by name in each."""

    of_paper: dict[str, Any]
    """Diffusion-TracIn, Diffusion-ReTrac, and what is made of them."""
    on_features: dict[str, Any]
    others: dict[str, Any]


def by_kind(attributors: Mapping[str, Any]) -> Kinds:
    """Sort methods, by name, by what they share when they are computed together."""
    from retrac_plugin.attribution.attributors import DiffusionAttributor
    from retrac_plugin.methods.attributor import FeatureAttributor

    found = Kinds({}, {}, {})
    for name, each in attributors.items():
        if isinstance(each, DiffusionAttributor):
            found.of_paper[name] = each
        elif isinstance(each, FeatureAttributor):
            found.on_features[name] = each
        else:
            found.others[name] = each
    return found


def check_method(name: str) -> None:
    """Refuse a method that is not installed.

    Raises:
        PluginError: If it is not.
    """
    from retrac_plugin import plugins

    if name != BEST:
        plugins.get_attributor(name)


def chosen(methods: tuple[str, ...], train: int) -> list[str]:
    """Return each method once, ``best`` by the name of the one that is.

    Args:
        methods: What was asked for.
        train: Number of training images.
    """
    if BEST not in methods:
        return list(dict.fromkeys(methods))
    from retrac_plugin.methods.choosing import best_for

    best = best_for(train)
    tell(f"best: {best}, which our benchmarks favour for {train:,} training images")
    return list(dict.fromkeys(best if name == BEST else name for name in methods))
