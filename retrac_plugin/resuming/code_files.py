"""Which code something is: the text of its files, or the version in which it is installed.

What may change under our hands is read file by file, each time: plugins, packages installed from
where they are written, and what no distribution brings. Others are what their versions say.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from retrac_plugin.hookspecs import PROJECT

INTERPRETER = f"python {sys.version}"


def code_of_module(module: str) -> str:
    """Return what tells the code of a module's whole package, or its version, from any other."""
    top = module.partition(".")[0]
    if _is_standard(top):
        return INTERPRETER
    fixed = _fixed(top)
    if fixed:
        return "; ".join(_versions(one.name) for one in fixed)
    return _digest(_files_of(top))


def code_of_plugin(plugin: str) -> str:
    """Return the same of the whole distribution that a plugin is of, and of what it requires.

    Args:
        plugin: The name of its entry point.
    """
    for entry_point in metadata.entry_points(group=PROJECT):
        if entry_point.name == plugin:
            own = code_of_module(entry_point.module)
            if entry_point.dist is None:
                return own
            files = _digest(_files_of_distribution(entry_point.dist))
            return "; ".join([own, files, _versions(entry_point.dist.name)])
    return ""


def is_fixed(module: str) -> bool:
    """Whether a module is Python's own, or of a package that is what its version says."""
    top = module.partition(".")[0]
    return _is_standard(top) or bool(_fixed(top))


def is_read_whole(module: str) -> bool:
    """Whether ``code_of_module`` tells apart all that a module is made of."""
    top = module.partition(".")[0]
    spec = _spec(top)
    return is_fixed(module) or bool(spec and spec.submodule_search_locations)


def _is_standard(top: str) -> bool:
    return top in sys.stdlib_module_names and top != "__main__"


@functools.cache
def _fixed(top: str) -> list[metadata.Distribution]:
    """Return the distributions that bring a package, if its versions tell all of it."""
    spec = _spec(top)
    if spec is None or spec.origin is None:
        return []
    brought = [metadata.distribution(name) for name in _distributions().get(top, ())]
    here = [
        one
        for one in brought
        if Path(str(one.locate_file(top))) in Path(spec.origin).parents
        or Path(str(one.locate_file(f"{top}.py"))) == Path(spec.origin)
    ]
    return here if all(_is_fixed(one) for one in here) else []


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in metadata.packages_distributions().items()}


def _is_fixed(distribution: metadata.Distribution) -> bool:
    return not _brings_plugins(distribution) and _project(distribution) is None


def _brings_plugins(distribution: metadata.Distribution) -> bool:
    return any(point.group == PROJECT for point in distribution.entry_points)


def _project(distribution: metadata.Distribution) -> Path | None:
    """Return the folder that an editable installation is written in, None of any other."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))


@functools.cache
def _versions(name: str) -> str:
    """Return the versions of a distribution, and of all it requires that is installed."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = f"{name} {distribution.version}"
        optional = _brings_plugins(distribution)  # what a method of its may need
        left += [
            re.split(r"[^\w.-]", need, maxsplit=1)[0]
            for need in distribution.requires or ()
            if optional or "extra ==" not in need
        ]
    return "; ".join(sorted(found.values()))


def _files_of(top: str) -> Iterator[Path]:
    """Yield the files of a package, or of a single module and those beside it."""
    spec = _spec(top)
    if spec is not None and spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            yield from _below(Path(folder), any_kind=spec.origin is not None)
        return
    origin = getattr(sys.modules.get(top), "__file__", None) or getattr(spec, "origin", None)
    path = Path(str(origin))
    if path.is_file():
        yield from {path, *path.parent.glob("*.py")}


def _spec(top: str) -> ModuleSpec | None:
    try:
        return None if top == "__main__" else find_spec(top)
    except (ImportError, ValueError):  # a module that was made, not imported
        return None


def _files_of_distribution(distribution: metadata.Distribution) -> Iterator[Path]:
    project = _project(distribution)
    if project is not None:
        yield from _below(project, any_kind=False)
        return
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _below(folder: Path, any_kind: bool) -> Iterator[Path]:
    """Yield the files below a folder, of any kind or Python's alone; no hidden or made ones."""
    for directory, names, files in os.walk(folder):
        names[:] = [
            name
            for name in names
            if not name.startswith((".", "__pycache__"))
            and not (Path(directory) / name / "pyvenv.cfg").exists()
        ]
        paths = (Path(directory) / name for name in files if not name.startswith("."))
        yield from (path for path in paths if any_kind or path.suffix == ".py")


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
