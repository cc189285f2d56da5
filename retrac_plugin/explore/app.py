"""The explorer in a browser, by gradio: on this machine alone, and without a trace."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrac_plugin.errors import InputError, RetracError
from retrac_plugin.explore.asking import Explorer
from retrac_plugin.extras import requires

LOOPBACK = ("127.0.0.1", "::1", "localhost")

TITLE = "Which training images made this picture?"

STEPS = 50
"""Denoising steps unless told otherwise: what diffusers' pipelines take for a prompt."""

_FRAME = (
    '<iframe title="The answer" srcdoc="{}" sandbox="allow-scripts allow-downloads" '
    'style="width:100%;height:85vh;border:0"></iframe>'
)
"""The page has no rights in the one around it."""

_PLAIN = ["system-ui", "sans-serif"]
"""Fonts that every machine has: none is fetched."""

_COLOURS = {
    f"{name}{suffix}": value
    for name, value in {
        "button_primary_background_fill": "#0b5a8f",
        "button_primary_background_fill_hover": "#094a76",
        "button_primary_text_color": "#ffffff",
    }.items()
    for suffix in ("", "_dark")
} | {"body_text_color_subdued": "*neutral_600"}
"""The page's own blue, and darker greys: gradio's own are too pale to read small text on."""


def check_host(host: str) -> None:
    """Refuse addresses that other machines reach.

    Raises:
        InputError: If it is one.
    """
    if host not in LOOPBACK:
        raise InputError(
            f"host: the explorer answers on this machine alone, since it shows training images to "
            f"whoever asks: expected {', '.join(LOOPBACK)}, got {host!r}. To reach it from "
            "elsewhere, forward a port: ssh -L 7860:127.0.0.1:7860 THIS_MACHINE"
        )


@contextmanager
def serving(explorer: Explorer, lead: str, host: str, port: int | None) -> Iterator[Any]:
    """Serve the explorer while a ``with`` block runs.

    Args:
        explorer: What answers.
        lead: What is explored, in a sentence.
        host: One of ``LOOPBACK``.
        port: Default: the first free one from 7860.

    Yields:
        The running application, with its ``local_url``.

    Raises:
        InputError: If the host is not of this machine, or the port is taken.
        MissingDependencyError: If gradio is not installed.
    """
    check_host(host)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with tempfile.TemporaryDirectory(prefix="retrac-explore-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # gradio reads both when it is imported
        with requires("retrac explore", "explore"):
            import gradio
        app = _layout(gradio, explorer, lead, lambda: _empty(Path(uploads)))
        theme = gradio.themes.Default(font=_PLAIN, font_mono=["monospace"]).set(**_COLOURS)
        told = {"quiet": True, "show_error": False, "prevent_thread_lock": True, "theme": theme}
        told["footer_links"] = []  # all lead elsewhere
        try:
            app.launch(server_name=host, server_port=port, share=False, **told)
        except OSError as error:
            raise InputError(f"port: {error}. Name another one") from error
        try:
            yield app
        finally:
            app.close(verbose=False)


def _layout(gradio: Any, explorer: Explorer, lead: str, forget: Callable[[], None]) -> Any:
    def answered(make: Callable[[], str]) -> str:
        try:
            page = make()
        except RetracError as error:
            told = html.escape(str(error))  # which names files, and is shown as HTML
            raise gradio.Error(told, duration=None, print_exception=False) from error
        finally:
            forget()
        return _FRAME.format(html.escape(page, quote=True))

    def of_file(picture: str | None, prompt: str) -> str:
        return answered(lambda: explorer.ask(picture, prompt))

    def of_drawn(seed: float | None, steps: float | None, prompt: str) -> str:
        return answered(lambda: explorer.ask_drawn(_whole(seed), _whole(steps), prompt))

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as app:
        gradio.Markdown(f"# {TITLE}\n\n{html.escape(lead)}")
        prompt = gradio.Textbox(
            label="What the picture was generated from, or is to show",
            visible=explorer.takes_prompts,
        )
        with gradio.Row():
            with gradio.Column():
                # Not an Image, which would make colours of greys, and other pixels of a JPEG.
                picture = gradio.File(
                    label="A picture", file_types=["image"], type="filepath", height=130
                )
                button = gradio.Button("Show its proponents", variant="primary")
            with gradio.Column():
                drawing = _drawing(gradio, explorer)
        shown = gradio.HTML()
        # One after the other: both may keep the whole machine busy.
        alone = {"api_name": False, "concurrency_id": "answer", "concurrency_limit": 1}
        button.click(of_file, [picture, prompt], shown, **alone)
        if drawing is not None:
            draw, seed, steps = drawing
            draw.click(of_drawn, [seed, steps, prompt], shown, **alone)
    return app


def _drawing(gradio: Any, explorer: Explorer) -> tuple[Any, Any, Any] | None:
    """Lay out what draws a picture, or say why nothing does."""
    if isinstance(explorer.draw, str):
        gradio.Markdown(f"No picture can be drawn here: {html.escape(explorer.draw)}.")
        return None
    with gradio.Row():
        seed = gradio.Number(0, label="Seed", precision=0, minimum=0)
        steps = gradio.Number(STEPS, label="Denoising steps", precision=0, minimum=1)
    draw = gradio.Button("Draw a picture, and show its proponents", variant="primary")
    return draw, seed, steps


def _whole(number: float | None) -> int:
    """Return what a field holds as a whole number; an empty one is refused where it is used."""
    return -1 if number is None else int(number)


def _empty(folder: Path) -> None:
    """Delete what was uploaded: what the browser shows of it, the answer holds."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)
