"""``retrac record``."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.voice import answer, as_json, quiet, voice


@click.command(
    epilog=example("retrac record --keep noise train_unconditional.py --output_dir runs/photos"),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--keep",
    type=click.Choice(["timesteps", "noise", "samples"]),
    default="noise",
    show_default=True,
    help="How much to keep: the timesteps alone; the noise of each sample's last visit before "
    "each checkpoint, to replay it; or also the sample as it was, augmented or encoded.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; by default the script's own --output_dir or project_dir.",
)
@quiet
@as_json
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def record(keep: str, out: Path | None, command: tuple[str, ...]) -> None:
    """Run a training script, unchanged, and record what it trains on.

    COMMAND is a script of diffusers or your own with its arguments, or a launcher's command line:

    \b
      retrac record train_unconditional.py --output_dir run ...
      retrac record accelerate launch --num_processes 2 train_text_to_image.py ...

    The record goes into the run's folder, where `retrac attribute` finds it. The training is not
    changed: with the same seed it gives the same weights. What the script itself prints is left
    as it is: with --json the answer is the last line.
    """  # noqa: D301 click needs the escape
    from retrac_plugin.recording import ScriptRecording, as_module, is_script, run_script

    if not is_script(command[0]):
        options = ["--keep", keep, *(("--out", str(out)) if out else ()), *voice().options]
        launch = as_module(command, ["retrac_plugin", "record", *options])
        _replace_process(launch)
    recording = ScriptRecording(keep, out, command)
    try:
        run_script(command, recording)
    except OSError:  # most often the script's own, which no line says enough of
        traceback.print_exc()
        sys.exit(1)
    log = recording.log
    if log is None:
        click.echo(
            "retrac: nothing was recorded, no step of a diffusion training was seen", err=True
        )
        answer(lambda: {"visits": 0, "folder": None})
    elif log.origin.process == 0:
        if not voice().quiet:
            click.echo(f"retrac: recorded {log.count} visits in {log.directory}", err=True)
        answer(lambda: {"visits": log.count, "folder": log.directory})


def _replace_process(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise click.ClickException(f"cannot run {command[0]!r}: {error}") from error
