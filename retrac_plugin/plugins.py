"""Finds plugins, survives broken ones, and looks up what they bring by name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

import pluggy

from retrac_plugin import hookspecs
from retrac_plugin.errors import PluginError
from retrac_plugin.hookspecs import AttributorEntry, CommandEntry, MetricEntry, TaskEntry

Entry = TypeVar("Entry", AttributorEntry, MetricEntry, CommandEntry, TaskEntry)


def load_entry_points(manager: pluggy.PluginManager) -> None:
    """Register every installed plugin; warn about, and skip, those that fail."""
    for entry_point in entry_points(group=hookspecs.PROJECT):
        if manager.has_plugin(entry_point.name):
            continue
        try:
            register(manager, entry_point.load(), entry_point.name)
        except Exception as error:  # a third party's module may raise anything
            problem = f"{type(error).__name__}: {error}"
            message = f"plugin {entry_point.name!r} ({entry_point.value}) was skipped: {problem}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def register(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register one plugin whole or not at all.

    Raises:
        pluggy.PluginValidationError: If it answers a hook that does not exist, or wrongly.
    """
    try:
        manager.register(plugin, name=name)
        manager.check_pending()  # a misspelt hook is this plugin's fault, so find it now
    except Exception:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise


@functools.cache
def plugin_manager() -> pluggy.PluginManager:
    """Return the process-wide plugin manager, plugins found."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    load_entry_points(manager)
    return manager


def attributors() -> Mapping[str, tuple[AttributorEntry, str]]:
    """Return every registered attributor with the name of the plugin that brought it."""
    return _collect("retrac_register_attributors", AttributorEntry)


def metrics() -> Mapping[str, tuple[MetricEntry, str]]:
    """Return every registered metric with the name of the plugin that brought it."""
    return _collect("retrac_register_metrics", MetricEntry)


def commands() -> Mapping[str, tuple[CommandEntry, str]]:
    """Return every registered subcommand with the name of the plugin that brought it."""
    return _collect("retrac_register_commands", CommandEntry)


def tasks() -> Mapping[str, tuple[TaskEntry, str]]:
    """Return every registered benchmark task with the name of the plugin that brought it."""
    return _collect("retrac_register_tasks", TaskEntry)


def get_attributor(name: str) -> Any:
    """Return the attributor class registered as ``name``.

    Raises:
        PluginError: If there is none; the message lists those there are.
    """
    return _look_up(attributors(), name, "attributor").load()


def get_metric(name: str) -> Any:
    """Return the metric function registered as ``name``.

    Raises:
        PluginError: If there is none; the message lists those there are.
    """
    return _look_up(metrics(), name, "metric").load()


def get_task(name: str) -> Any:
    """Return the source of the benchmark task registered as ``name``.

    Raises:
        PluginError: If there is none; the message lists those there are.
    """
    return _look_up(tasks(), name, "task").load()


def _collect(hook: str, kind: type[Entry]) -> Mapping[str, tuple[Entry, str]]:
    manager = plugin_manager()
    found: dict[str, tuple[Entry, str]] = {}
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        plugin = implementation.plugin_name
        for entry in _answers(implementation, hook, kind):
            if entry.name in found:
                raise PluginError(
                    f"two plugins, {found[entry.name][1]!r} and {plugin!r}, both bring "
                    f"{entry.name!r} ({hook}): uninstall one of them, or rename its entry"
                )
            found[entry.name] = (entry, plugin)
    return dict(sorted(found.items()))


def _answers(implementation: Any, hook: str, kind: type[Entry]) -> Iterable[Entry]:
    """Return one plugin's records, or none, with a warning, if it fails."""
    try:
        entries = list(implementation.function())
        wrong = [entry for entry in entries if not isinstance(entry, kind)]
        if wrong:
            raise PluginError(f"expected {kind.__name__} records, got {wrong[0]!r}")
    except Exception as error:  # a third party's hook may raise anything
        problem = f"{type(error).__name__}: {error}"
        message = (
            f"plugin {implementation.plugin_name!r} failed in {hook} and was skipped: {problem}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=4)
        return []
    return entries


def _look_up(entries: Mapping[str, tuple[Entry, str]], name: str, kind: str) -> Entry:
    if name not in entries:
        installed = ", ".join(entries) or "none"
        raise PluginError(f"unknown {kind} {name!r}: installed are {installed}")
    return entries[name][0]
