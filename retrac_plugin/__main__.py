"""``python -m retrac_plugin``: the command ``retrac``, for launchers that run modules."""

from retrac_plugin.cli import main

main(prog_name="retrac")
