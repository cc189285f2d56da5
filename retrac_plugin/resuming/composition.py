"""What classes, functions and objects are made of, beyond the text of their files."""

from __future__ import annotations

import builtins
import collections
import copyreg
import enum
import functools
import logging
import struct
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from retrac_plugin.resuming.code_files import is_read_whole

_OF_SETS = ("_use_default_values",)
"""Keys of what diffusers lists in the order of a set, which is another in each process."""

_CONTENTS: tuple[tuple[tuple[type, ...], Callable[[Any], Iterable[Any]]], ...] = (
    ((enum.Enum,), lambda value: (value.name, value.value)),
    ((property,), lambda value: (value.fget, value.fset, value.fdel)),
    ((staticmethod, classmethod), lambda value: (value.__func__,)),
    ((functools.cached_property,), lambda value: (value.func,)),
    ((weakref.ref,), lambda value: (value(),)),
    ((logging.Logger,), lambda value: (value.name,)),
    ((torch.Generator,), lambda value: (value.get_state(),)),
    # What is compiled together with the class that it is of:
    (
        (
            types.MemberDescriptorType,
            types.GetSetDescriptorType,
            types.WrapperDescriptorType,
            types.MethodDescriptorType,
            types.ClassMethodDescriptorType,
            types.MethodWrapperType,
        ),
        lambda value: (value.__qualname__,),
    ),
)
"""What values of some types are made of."""


def class_attributes(kind: type) -> Iterator[Any]:
    """Yield names and values of a class's own attributes, as far as its files do not tell them.

    That is all of them where its files may not be all; else what is no function, which a class that
    was made by ``type(name, bases, attributes)`` may have from anywhere.
    """
    whole = is_read_whole(kind.__module__)
    for name, value in vars(kind).items():
        is_code = isinstance(value, (types.FunctionType, property, staticmethod, classmethod))
        is_code |= isinstance(value, functools.cached_property)
        if name.startswith("_abc_") or (_is_dunder(name) and not is_code) or (is_code and whole):
            continue
        yield name, value


def globals_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to in its module, where the module's files may not be all."""
    if is_read_whole(function.__module__ or ""):
        return
    for name in dict.fromkeys(_names_in(function.__code__)):
        if name in function.__globals__ and name not in vars(builtins):
            yield name, function.__globals__[name]


def parts_of(value: Any, refusal: Callable[[Any], Exception]) -> Iterable[Any]:
    """Return all that an object is made of, in order; what is derived from it aside.

    Raises:
        Exception: A ``refusal`` of the object, if it does not show what it is made of.
    """
    kind = type(value)
    if kind in (dict, collections.OrderedDict, types.MappingProxyType):
        return tuple(map(_as_item, value.items()))
    if kind in (list, tuple, collections.deque):
        return tuple(value)
    for kinds, content in _CONTENTS:
        if isinstance(value, kinds):
            return content(value)
    return _as_pickled(value, refusal) if _hides_state(kind) else _fields(value)


def _as_item(item: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return an entry of a mapping; a list in the order of a set, as a set."""
    return (item[0], frozenset(item[1])) if item[0] in _OF_SETS else item


def _fields(value: Any) -> Iterator[Any]:
    for name, own in getattr(value, "__dict__", {}).items():
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            yield name, own
    for name in _slots(type(value)):
        if hasattr(value, name):
            yield name, getattr(value, name)


def _as_pickled(value: Any, refusal: Callable[[Any], Exception]) -> Iterator[Any]:
    """Yield what pickle would make the object anew from: compiled classes show no more of it."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:  # what an object raises here is its own affair
        raise refusal(value) from error
    if isinstance(parts, str):  # a name, which says nothing of what bears it
        raise refusal(value)
    yield from parts[:3]
    yield list(parts[3] or ()) if len(parts) > 3 else None
    yield list(map(_as_item, parts[4] or ())) if len(parts) > 4 else None


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _names_in(part)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _hides_state(kind: type) -> bool:
    """Whether objects of a class are larger than the fields that Python sees."""
    seen = sum(1 for _ in _slots(kind)) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    size = object.__basicsize__ + seen * struct.calcsize("P")
    return kind.__basicsize__ > size or kind.__itemsize__ > 0


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, types.MemberDescriptorType):
                yield name
