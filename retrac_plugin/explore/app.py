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

_FRAME = (
    '<iframe title="The answer" srcdoc="{}" sandbox="allow-scripts allow-downloads" '
    'style="width:100%;height:85vh;border:0"></iframe>'
)
"""The page has no rights in the one around it."""

_PLAIN = ["system-ui", "sans-serif"]
"""Fonts that every machine has: none is fetched."""


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
        theme = gradio.themes.Default(font=_PLAIN, font_mono=["monospace"])
        told = {"quiet": True, "show_error": False, "prevent_thread_lock": True, "theme": theme}
        try:
            app.launch(server_name=host, server_port=port, share=False, **told)
        except OSError as error:
            raise InputError(f"port: {error}. Name another one") from error
        try:
            yield app
        finally:
            app.close(verbose=False)


def _layout(gradio: Any, explorer: Explorer, lead: str, forget: Callable[[], None]) -> Any:
    def answer(picture: str | None, prompt: str = "") -> str:
        try:
            page = explorer.ask(picture, prompt)
        except RetracError as error:
            told = html.escape(str(error))  # which names files, and is shown as HTML
            raise gradio.Error(told, duration=None, print_exception=False) from error
        finally:
            forget()
        return _FRAME.format(html.escape(page, quote=True))

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as app:
        gradio.Markdown(f"# {TITLE}\n\n{html.escape(lead)}")
        with gradio.Row():
            # Not an Image, which would make colours of greys, and other pixels of a JPEG.
            picture = gradio.File(label="A picture", file_types=["image"], type="filepath")
            prompt = gradio.Textbox(
                label="What it was generated from", visible=explorer.takes_prompts
            )
        button = gradio.Button("Show its proponents", variant="primary")
        shown = gradio.HTML()
        button.click(answer, [picture, prompt], shown, api_name=False)
    return app


def _empty(folder: Path) -> None:
    """Delete what was uploaded: what the browser shows of it, the answer holds."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)
