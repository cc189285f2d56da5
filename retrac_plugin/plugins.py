"""Finds plugins, survives broken ones, and looks up what they bring by name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

import pluggy

from retrac_plugin import hookspecs
from retrac_plugin.errors import PluginError, RetracError
from retrac_plugin.hookspecs import AttributorEntry, CommandEntry, MetricEntry, TaskEntry

Entry = TypeVar("Entry", AttributorEntry, MetricEntry, CommandEntry, TaskEntry)
Answer = TypeVar("Answer")

FAILURES = (Exception, SystemExit)
"""What a third party's code may end in. That it exits is a failure of its, and no end of ours."""


def load_entry_points(manager: pluggy.PluginManager) -> None:
    """Register every installed plugin; warn about, and skip, those that fail."""
    for entry_point in entry_points(group=hookspecs.PROJECT):
        if manager.has_plugin(entry_point.name):
            continue
        try:
            register(manager, entry_point.load(), entry_point.name)
        except FAILURES as error:  # a third party's module may raise anything
            message = f"plugin {entry_point.name!r} ({entry_point.value}) was skipped"
            warnings.warn(f"{message}: {one_line(error)}", RuntimeWarning, stacklevel=2)


def register(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register one plugin whole or not at all.

    Raises:
        pluggy.PluginValidationError: If it answers a hook that does not exist, or wrongly.
    """
    try:
        manager.register(plugin, name=name)
        manager.check_pending()  # a misspelt hook is this plugin's fault, so find it now
    except FAILURES:
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
        PluginError: If there is none, which lists those there are, or if its plugin fails.
    """
    return _loaded(attributors(), name, "attributor")


def get_metric(name: str) -> Any:
    """Return the metric function registered as ``name``.

    Raises:
        PluginError: If there is none, which lists those there are, or if its plugin fails.
    """
    return _loaded(metrics(), name, "metric")


def get_task(name: str) -> Any:
    """Return the source of the benchmark task registered as ``name``.

    Raises:
        PluginError: If there is none, which lists those there are, or if its plugin fails.
    """
    return _loaded(tasks(), name, "task")


def get_command(name: str) -> Any:
    """Return the command registered as ``name``.

    Raises:
        PluginError: If there is none, which lists those there are, or if its plugin fails.
    """
    return _loaded(commands(), name, "command")


def first_answer(hook: str, kind: type[Answer], **asked: Any) -> Answer | None:
    """Return the first answer to a hook that is of a kind; a plugin that fails is warned about.

    Args:
        hook: The hook's name.
        kind: What an answer is.
        **asked: What the hook is called with.

    Raises:
        RetracError: Whatever of this kind a plugin raises on purpose.
    """
    for implementation in reversed(getattr(plugin_manager().hook, hook).get_hookimpls()):
        try:
            answer = implementation.function(*(asked[name] for name in implementation.argnames))
            if answer is not None and not isinstance(answer, kind):
                raise TypeError(f"expected {kind.__name__} or None, got {answer!r}")
        except RetracError:
            raise
        except FAILURES as error:  # a third party's hook may raise anything
            _warn_of(implementation, hook, error)
            continue
        if answer is not None:
            return answer
    return None


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
        wrong = [entry for entry in entries if not _is_usable(entry, kind)]
        if wrong:
            raise PluginError(f"expected {kind.__name__} records, got {wrong[0]!r}")
    except FAILURES as error:  # a third party's hook may raise anything
        _warn_of(implementation, hook, error)
        return []
    return entries


def _is_usable(entry: Any, kind: type[Entry]) -> bool:
    if not isinstance(entry, kind):
        return False
    texts = (entry.name, entry.summary, *getattr(entry, "needs", ()))
    return bool(entry.name) and all(isinstance(t, str) for t in texts) and callable(entry.load)


def _warn_of(implementation: Any, hook: str, error: BaseException) -> None:
    message = f"plugin {implementation.plugin_name!r} failed in {hook} and was skipped"
    warnings.warn(f"{message}: {one_line(error)}", RuntimeWarning, stacklevel=5)


def one_line(error: BaseException) -> str:
    """Return what was raised, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _loaded(entries: Mapping[str, tuple[Entry, str]], name: str, kind: str) -> Any:
    if name not in entries:
        installed = ", ".join(entries) or "none"
        raise PluginError(f"unknown {kind} {name!r}: installed are {installed}")
    entry, plugin = entries[name]
    try:
        return entry.load()
    except RetracError:
        raise
    except FAILURES as error:  # a third party's module may raise anything
        raise PluginError(
            f"plugin {plugin!r} cannot load its {kind} {name!r}: {one_line(error)}"
        ) from error
