import sys
import types

import pluggy
import pytest

import retrac_plugin as retrac
from retrac_plugin import hookspecs, plugins
from retrac_plugin.errors import InputError, PluginError
from retrac_plugin.hookspecs import (
    AttributorEntry,
    CommandEntry,
    MetricEntry,
    TaskEntry,
    hookimpl,
)
from tests.small import small_case


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


def test_a_plugin_that_exits_when_it_is_imported_or_asked_is_warned_about_and_skipped(
    manager, monkeypatch
):
    leave = types.SimpleNamespace(name="leaver", value="leaver", load=lambda: sys.exit(0))
    monkeypatch.setattr(plugins, "entry_points", lambda group: [leave])
    with pytest.warns(RuntimeWarning, match=r"'leaver' \(leaver\) was skipped: SystemExit: 0"):
        plugins.load_entry_points(manager)
    plugin = types.SimpleNamespace()
    plugin.retrac_register_tasks = hookimpl(lambda: sys.exit(3))
    plugins.register(manager, plugin, "exiting")
    with pytest.warns(RuntimeWarning, match="'exiting' failed .* SystemExit: 3"):
        assert "digits" in plugins.tasks()


@pytest.mark.parametrize(
    "entry",
    [
        AttributorEntry(None, "", lambda: None),
        AttributorEntry("", "", lambda: None),
        AttributorEntry(3, "", lambda: None),
        AttributorEntry("a", None, lambda: None),
        AttributorEntry("a", "", "load"),
        AttributorEntry("a", "", lambda: None, needs=(1,)),
    ],
    ids=[
        "no name",
        "empty name",
        "a number for a name",
        "no summary",
        "load is text",
        "needs a number",
    ],
)
def test_a_record_that_cannot_be_used_is_warned_about_and_skipped(manager, entry):
    plugin = types.SimpleNamespace()
    plugin.retrac_register_attributors = hookimpl(lambda: [entry])
    plugins.register(manager, plugin, "confused")
    with pytest.warns(RuntimeWarning, match="'confused' failed .* expected AttributorEntry"):
        assert "diffusion-retrac" in plugins.attributors()


@pytest.mark.parametrize(
    "answer", [lambda: 1 / 0, lambda: sys.exit(0), lambda: "nonsense"], ids=["raises", "exits", "x"]
)
def test_a_plugin_that_fails_to_wrap_or_read_is_warned_about_and_the_next_is_asked(
    manager, tmp_path, answer
):
    plugin = types.SimpleNamespace()
    plugin.retrac_wrap_model = hookimpl(lambda network, scheduler: answer())
    plugin.retrac_read_run = hookimpl(lambda request: answer())
    plugins.register(manager, plugin, "broken")
    case = small_case()
    with pytest.warns(RuntimeWarning, match="'broken' failed in retrac_wrap_model and was skipped"):
        assert retrac.wrap(case.network, case.schedule).schedule is case.schedule
    with (
        pytest.warns(RuntimeWarning, match="'broken' failed in retrac_read_run and was skipped"),
        pytest.raises(PluginError, match="no plugin can read"),
    ):
        retrac.read_run(tmp_path)


def test_what_a_plugin_says_on_purpose_is_said(manager):
    def refuse(network, scheduler):
        raise InputError("this network has another denoiser inside")

    plugin = types.SimpleNamespace()
    plugin.retrac_wrap_model = hookimpl(refuse)
    plugins.register(manager, plugin, "strict")
    case = small_case()
    with pytest.raises(InputError, match="another denoiser inside"):
        retrac.wrap(case.network, case.schedule)


@pytest.mark.parametrize(
    ("get", "kind"),
    [
        (plugins.get_attributor, "attributor"),
        (plugins.get_metric, "metric"),
        (plugins.get_task, "task"),
        (plugins.get_command, "command"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_that_names_its_plugin(manager, get, kind):
    def fail():
        raise SystemExit("gone")

    plugin = types.SimpleNamespace()
    plugin.retrac_register_attributors = hookimpl(lambda: [AttributorEntry("mine", "", fail)])
    plugin.retrac_register_metrics = hookimpl(lambda: [MetricEntry("mine", "", fail)])
    plugin.retrac_register_tasks = hookimpl(lambda: [TaskEntry("mine", "", fail)])
    plugin.retrac_register_commands = hookimpl(lambda: [CommandEntry("mine", "", fail)])
    plugins.register(manager, plugin, "third-party")
    told = f"plugin 'third-party' cannot load its {kind} 'mine': SystemExit: gone"
    with pytest.raises(PluginError, match=told):
        get("mine")


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
