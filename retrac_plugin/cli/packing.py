"""Options that belong together, which a command gets as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def packed(name: str, kind: type[Any], *parameters: Decorator) -> Decorator:
    """Return a decorator that adds parameters to a command, which gets them as one argument.

    Args:
        name: Of the argument.
        kind: A dataclass with a field for each parameter, of its name. Fields that no parameter
            fills have a default.
        parameters: ``click.option`` and ``click.argument`` decorators, or what this returns.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            own = {name: values.pop(name) for name in names if name in values}
            return function(**values, **{name: kind(**own)})

        command: Command = call
        for parameter in reversed(parameters):
            command = parameter(command)
        return command

    return decorate
