"""A digest of any value that forgets nothing: what it cannot take apart, it refuses.

An object is its class and all of its fields, whatever they are called; a function its code and what
it refers to; a class or a module the code of its package, see ``code_files``. So a field that is
added to a record one day is part of the digest that day.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from retrac_plugin.errors import InputError
from retrac_plugin.resuming.code_files import code_of_module, is_fixed
from retrac_plugin.resuming.composition import class_attributes, globals_of, parts_of

Views = Mapping[type, Callable[[Any], Any]]
"""What stands for the values of some types, such as a file's content for its name."""

_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range),
    *(slice, torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype),
    *(types.UnionType, types.GenericAlias, TypeVar),
)
"""Types whose values are all that ``repr`` says of them."""

_METHODS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)


class UndigestibleError(InputError):
    """A value that cannot be told from others of its kind."""


class Digester:
    """Takes values in, one after the other.

    Args:
        views: What stands for the values of some types.
    """

    def __init__(self, views: Views | None = None) -> None:
        self._hash = hashlib.sha256()
        self._views = dict(views or {})
        self._seen: dict[int, tuple[int, Any]] = {}
        self._code: dict[str, str] = {}

    def branch(self) -> Digester:
        """Return another that has taken in the same, and goes on by itself."""
        other = Digester(self._views)
        other._hash, other._seen = self._hash.copy(), dict(self._seen)
        other._code = self._code
        return other

    def hexdigest(self) -> str:
        """Return the digest of all that was taken in, in order."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Take in a value.

        Raises:
            UndigestibleError: If it, or a part of it, cannot be taken apart.
        """
        if type(value) in _PLAIN or type(value).__module__ == "typing":
            self._text("plain", type(value).__qualname__, repr(value))
        elif isinstance(value, PurePath):
            self._text("path", str(value))
        elif type(value) in (tuple, frozenset):  # which Python shares as it likes
            self._add_object(value)
        elif id(value) in self._seen:
            self._text("as before", str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = len(self._seen), value  # kept, so that no other gets its id
            self._add_parts(value)

    def _add_parts(self, value: Any) -> None:
        view = next((v for kind, v in self._views.items() if isinstance(value, kind)), None)
        if view is not None:
            self._text("view", type(value).__qualname__)
            self.add(view(value))
        elif isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            self._text("array", value.dtype.str, str(value.shape))
            self._hash.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.ModuleType):
            self._text("module", value.__name__, self._code_of(value.__name__))
        elif isinstance(value, _METHODS):
            self._add_function(value)
        elif isinstance(value, types.CodeType):
            self._add_code(value)
        else:
            self._add_object(value)

    def _add_tensor(self, tensor: Tensor) -> None:
        if type(tensor) not in (Tensor, nn.Parameter, nn.Buffer) or tensor.layout != torch.strided:
            raise _refusal(tensor)
        self._text("tensor", str(tensor.dtype), str(tuple(tensor.shape)), str(tensor.requires_grad))
        flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().view(-1)
        self._hash.update(memoryview(flat.view(torch.uint8).numpy()))  # type: ignore[arg-type]  # it is a buffer

    def _add_class(self, kind: type) -> None:
        self._text("class", kind.__module__, kind.__qualname__, self._code_of(kind.__module__))
        if not is_fixed(kind.__module__):
            self._add_all(kind.__bases__)
            self._add_all(class_attributes(kind))

    def _add_function(self, value: Any) -> None:
        if isinstance(value, functools.partial):
            self._add_all((value.func, value.args, value.keywords))
        elif isinstance(value, types.FunctionType):
            module = value.__module__ or ""
            self._text("function", module, value.__qualname__, self._code_of(module))
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
            self._add_all((value.__code__, value.__defaults__, value.__kwdefaults__, cells))
            self._add_all(globals_of(value))
        else:
            self._text("bound", value.__name__, self._code_of(value.__module__ or "builtins"))
            self.add(value.__self__)
            self.add(getattr(value, "__func__", None))

    def _add_code(self, code: types.CodeType) -> None:
        shape = (code.co_argcount, code.co_kwonlyargcount, code.co_flags, code.co_code)
        self._add_all((shape, code.co_names, code.co_freevars, code.co_varnames, code.co_consts))

    def _add_object(self, value: Any) -> None:
        self.add(type(value))
        if type(value) in (set, frozenset):
            self._add_all(sorted(self._apart(each) for each in value))
        else:
            self._add_all(parts_of(value, _refusal))

    def _apart(self, value: Any) -> str:
        alone = Digester(self._views)
        alone.add(value)
        return alone.hexdigest()

    def _add_all(self, values: Iterable[Any]) -> None:
        listed = list(values)
        self._text("parts", str(len(listed)))
        for value in listed:
            self.add(value)

    def _text(self, *parts: str) -> None:
        for part in parts:
            content = part.encode("utf-8", "surrogatepass")
            self._hash.update(f"{len(content)}:".encode() + content)

    def _code_of(self, module: str) -> str:
        package = module.partition(".")[0]
        if package not in self._code:
            self._code[package] = code_of_module(package)
        return self._code[package]


def digest_of(value: Any) -> str:
    """Return the digest of one value alone.

    Raises:
        UndigestibleError: If it, or a part of it, cannot be taken apart.
    """
    digester = Digester()
    digester.add(value)
    return digester.hexdigest()


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a cell that was never filled
        return False


def _refusal(value: Any) -> UndigestibleError:
    kind = type(value)
    return UndigestibleError(f"a {kind.__module__}.{kind.__qualname__} cannot be told from others")
