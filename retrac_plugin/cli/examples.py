"""The example that ends the help of each command."""

from __future__ import annotations


def example(*lines: str) -> str:
    r"""Return command lines as what ``click.command(epilog=...)`` takes.

    Args:
        lines: One command each.
    """
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
