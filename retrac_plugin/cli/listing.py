"""``retrac list``."""

from __future__ import annotations

from collections.abc import Mapping

import click

from retrac_plugin import plugins
from retrac_plugin.extras import missing
from retrac_plugin.hookspecs import AttributorEntry, MetricEntry, TaskEntry


@click.command()
def list_installed() -> None:
    """List the installed methods, metrics, tasks and plugins."""
    _section("Methods (retrac attribute --method NAME)", plugins.attributors())
    _section("Metrics", plugins.metrics())
    _section("Tasks (retrac benchmark NAME)", plugins.tasks())
    click.echo("Plugins")
    for name, plugin in sorted(plugins.plugin_manager().list_name_plugin()):
        click.echo(f"  {name:26} {getattr(plugin, '__name__', plugin)}")


def _section(
    title: str, entries: Mapping[str, tuple[AttributorEntry | MetricEntry | TaskEntry, str]]
) -> None:
    click.echo(title)
    for name, (entry, plugin) in entries.items():
        absent = missing(entry.needs)
        lacking = f"; needs {', '.join(absent)}, not installed" if absent else ""
        click.echo(f"  {name:26} {entry.summary} [{plugin}{lacking}]")
        if isinstance(entry, AttributorEntry) and entry.good_for:
            click.echo(f"  {'':26} use: {entry.good_for}")
    click.echo()
