import types

import pluggy
import pytest

import retrac_plugin as retrac
from retrac_plugin import hookspecs, plugins
from retrac_plugin.errors import PluginError
from retrac_plugin.hookspecs import (
    AttributorEntry,
    CommandEntry,
    MetricEntry,
    TaskEntry,
    hookimpl,
)


@pytest.fixture
def manager(monkeypatch):
    """A plugin manager of the test's own, with the installed plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins.load_entry_points(manager)
    monkeypatch.setattr(plugins, "plugin_manager", lambda: manager)
    return manager


def attributor_plugin(name, load=lambda: "the class"):
    plugin = types.SimpleNamespace()
    plugin.retrac_register_attributors = hookimpl(
        lambda: [AttributorEntry(name, "for a test", load)]
    )
    return plugin


def test_our_own_methods_come_through_the_hooks(manager):
    for name in ("diffusion-tracin", "diffusion-retrac"):
        assert plugins.attributors()[name][1] == "core"
    assert {"core", "diffusers"} <= {name for name, _ in manager.list_name_plugin()}


def test_a_third_party_attributor_is_found_by_name(manager):
    plugins.register(manager, attributor_plugin("mine"), "third-party")
    assert plugins.get_attributor("mine") == "the class"
    assert plugins.attributors()["mine"][1] == "third-party"


def test_a_third_party_metric_and_command_are_found_by_name(manager):
    plugin = types.SimpleNamespace()
    plugin.retrac_register_metrics = hookimpl(lambda: [MetricEntry("m", "", lambda: "metric")])
    plugin.retrac_register_commands = hookimpl(lambda: [CommandEntry("c", "", lambda: "command")])
    plugins.register(manager, plugin, "third-party")
    assert plugins.get_metric("m") == "metric"
    assert plugins.commands()["c"][0].load() == "command"


def test_a_third_party_task_is_found_by_name(manager):
    plugin = types.SimpleNamespace()
    plugin.retrac_register_tasks = hookimpl(lambda: [TaskEntry("t", "", lambda: "task")])
    plugins.register(manager, plugin, "third-party")
    assert plugins.get_task("t") == "task"


def test_an_unknown_name_lists_what_is_installed(manager):
    with pytest.raises(PluginError, match=r"unknown attributor 'tracing'.*diffusion-retrac"):
        plugins.get_attributor("tracing")
    with pytest.raises(PluginError, match=r"unknown metric 'beauty'.*specificity"):
        plugins.get_metric("beauty")


def test_a_name_brought_twice_names_both_plugins(manager):
    plugins.register(manager, attributor_plugin("diffusion-retrac"), "impostor")
    with pytest.raises(PluginError, match=r"(?s)'(core|impostor)'.*'(core|impostor)'.*retrac"):
        plugins.attributors()


def test_a_plugin_that_fails_when_asked_is_warned_about_and_skipped(manager):
    def fail():
        raise ZeroDivisionError("no reason")

    plugin = types.SimpleNamespace()
    plugin.retrac_register_attributors = hookimpl(fail)
    plugins.register(manager, plugin, "broken")
    with pytest.warns(RuntimeWarning, match="'broken' failed .* ZeroDivisionError: no reason"):
        assert "diffusion-retrac" in plugins.attributors()


def test_a_plugin_that_answers_nonsense_is_warned_about_and_skipped(manager):
    plugin = types.SimpleNamespace()
    plugin.retrac_register_attributors = hookimpl(lambda: ["not a record"])
    plugins.register(manager, plugin, "confused")
    with pytest.warns(RuntimeWarning, match="expected AttributorEntry records, got 'not a record'"):
        assert "diffusion-retrac" in plugins.attributors()


def test_a_plugin_that_cannot_be_imported_is_warned_about_and_skipped(monkeypatch):
    def load():
        raise ModuleNotFoundError("No module named 'gone'")

    broken = types.SimpleNamespace(name="broken", value="gone.plugin", load=load)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [broken])
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    with pytest.warns(RuntimeWarning, match=r"'broken' \(gone.plugin\) was skipped"):
        plugins.load_entry_points(manager)
    assert not manager.list_name_plugin()


def test_a_misspelt_hook_unregisters_the_whole_plugin(manager):
    plugin = attributor_plugin("mine")
    plugin.retrac_register_metricks = hookimpl(lambda: [])
    with pytest.raises(pluggy.PluginValidationError, match="retrac_register_metricks"):
        plugins.register(manager, plugin, "misspelt")
    assert not manager.has_plugin("misspelt")
    assert "mine" not in plugins.attributors()


def test_a_pair_that_no_adapter_knows_says_what_was_asked(manager):
    with pytest.raises(
        PluginError, match=r"builtins.int with builtins.str; asked: .*core, .*diffusers"
    ):
        retrac.wrap(1, "scheduler")
