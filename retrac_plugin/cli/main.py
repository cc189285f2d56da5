"""``retrac`` itself: finds its subcommands through the plugins and loads only the one asked for."""

from __future__ import annotations

import errno
from typing import Any

import click

from retrac_plugin import plugins
from retrac_plugin.cli.wording import in_options
from retrac_plugin.errors import RetracError
from retrac_plugin.progress import LINES, shown_as

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it; 1 is an error of ours, 2 a wrong command line."""


class PluginCommands(click.Group):
    """A group whose commands come from plugins; help lists them without loading any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all registered commands."""
        return list(plugins.commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in plugins.commands():
            return None
        command: click.Command = plugins.get_command(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, e.summary) for name, (e, _) in plugins.commands().items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what went wrong outside this program becomes a line, not a traceback."""
        try:
            with shown_as(LINES):
                return super().invoke(ctx)
        except RetracError as error:
            raise click.ClickException(in_options(str(error), _parameters(self, ctx))) from error
        except OSError as error:  # a file or a disk, named by it; click knows of closed pipes
            if error.errno == errno.EPIPE:
                raise
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nretrac: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _parameters(group: click.Group, ctx: click.Context) -> list[click.Parameter]:
    """Return those of the command that was run."""
    command = group.get_command(ctx, ctx.invoked_subcommand or "")
    return [] if command is None else command.params


EXIT_CODES = """\b
Exit codes:
  0    done
  1    an error, which stderr says; by `retrac doctor`, a run that cannot be attributed
  2    a command line that cannot be understood
  130  interrupted
"""


@click.group(
    cls=PluginCommands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="retrac-plugin", prog_name="retrac")
def main() -> None:
    """Which training images made this picture?

    Diffusion-TracIn and Diffusion-ReTrac for models trained with diffusers. Start with
    `retrac demo`.
    """
