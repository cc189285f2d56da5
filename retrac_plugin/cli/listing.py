"""``retrac list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from retrac_plugin import plugins
from retrac_plugin.cli.examples import example
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.voice import answer, as_json, quiet, voice
from retrac_plugin.extras import missing
from retrac_plugin.hookspecs import AttributorEntry, MetricEntry, TaskEntry


@click.command(epilog=example("retrac list --json"))
@quiet
@as_json
def list_installed() -> None:
    """List the installed methods, metrics, tasks and plugins."""
    if voice().as_json:
        answer(_answer)
        return
    _section("Methods (retrac attribute --method NAME)", plugins.attributors())
    _section("Metrics", plugins.metrics())
    _section("Tasks (retrac benchmark NAME)", plugins.tasks())
    tell("Plugins")
    for name, plugin in sorted(plugins.plugin_manager().list_name_plugin()):
        tell(f"  {name:26} {getattr(plugin, '__name__', plugin)}")


Entries = Mapping[str, tuple[AttributorEntry | MetricEntry | TaskEntry, str]]


def _answer() -> dict[str, Any]:
    kinds: dict[str, Entries] = {
        "methods": plugins.attributors(),
        "metrics": plugins.metrics(),
        "tasks": plugins.tasks(),
    }
    return {
        **{kind: [*_described(entries)] for kind, entries in kinds.items()},
        "plugins": sorted(name for name, _ in plugins.plugin_manager().list_name_plugin()),
    }


def _described(entries: Entries) -> Iterator[dict[str, Any]]:
    for name, (entry, plugin) in entries.items():
        lacking = missing(entry.needs)
        yield {"name": name, "summary": entry.summary, "plugin": plugin, "missing": lacking}


def _section(title: str, entries: Entries) -> None:
    tell(title)
    for name, (entry, plugin) in entries.items():
        absent = missing(entry.needs)
        lacking = f"; needs {', '.join(absent)}, not installed" if absent else ""
        tell(f"  {name:26} {entry.summary} [{plugin}{lacking}]")
        if isinstance(entry, AttributorEntry) and entry.good_for:
            tell(f"  {'':26} use: {entry.good_for}")
    tell()
