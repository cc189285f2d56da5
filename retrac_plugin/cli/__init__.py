"""The command ``retrac``: one subcommand a file, each registered through the same hook."""

from retrac_plugin.cli.main import main

__all__ = ["main"]
