"""Ways to damage a file: bytes anywhere, or values inside what it says."""

from __future__ import annotations

import copy
import json
import struct

from hypothesis import strategies as st

HOLES = [b"", b"\x00", b"\xff\xff\xff\xff", b"{", b"]" * 40, b"[" * 3000, b"9" * 30, b"\x80\x02"]

NASTY = [
    *(None, True, -1, 0, 1, 2, 7, 3_000_000_000, 10**30, -(10**30), 0.5, -1.5, 1e308, "", "x"),
    *("../../x", "a\x00b", "x" * 300, "\ud800", [], {}, [[]], [None], {"": None}, "NaN", "1e999"),
    *(
        float("nan"),
        float("inf"),
        [3, -1],
        ["a", 1],
        {"a": {"b": [1]}},
        ["unet"],
        "unet",
        b"".hex(),
    ),
]

edits = st.tuples(
    st.floats(0, 1),
    st.sampled_from(["replace", "insert", "cut", "end", "flip"]),
    st.sampled_from(HOLES) | st.binary(max_size=8),
)


def in_bytes(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return a file with a few of its bytes changed, its rest gone, or another file."""
    return st.lists(edits, min_size=1, max_size=4).map(lambda made: _edited(whole, made))


def _edited(data: bytes, made) -> bytes:
    for place, kind, new in made:
        at = int(place * len(data))
        if kind == "replace":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + 1 + len(new) :]
        elif kind == "end":
            data = data[:at]
        elif data[at : at + 1]:
            data = data[:at] + bytes([data[at] ^ 1 << len(new) % 8]) + data[at + 1 :]
    return data


def in_values(whole) -> st.SearchStrategy:
    """Return a JSON value, some parts of which are others, are gone or have a new name."""
    change = st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["set", "drop", "rename", "nest"]),
        st.sampled_from(NASTY),
    )
    return st.lists(change, min_size=1, max_size=3).map(lambda made: _changed(whole, made))


def _changed(whole, made):
    whole = {"": copy.deepcopy(whole)}
    for number, kind, value in made:
        places = list(_places(whole))
        home, key = places[number % len(places)]
        if kind == "set":
            home[key] = copy.deepcopy(value)
        elif kind == "nest":
            home[key] = [home[key]]
        elif isinstance(home, dict) and key != "":
            held = home.pop(key)
            if kind == "rename":
                home[str(value)] = held
    return whole[""]


def _places(value):
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in list(items):
        yield value, key
        yield from _places(part)


def as_json(value) -> bytes:
    """Return a value as JSON, with numbers that JSON does not know."""
    return json.dumps(value).encode()


def in_json(whole: bytes) -> st.SearchStrategy[bytes]:
    """Damage a JSON file either way."""
    return in_bytes(whole) | in_values(json.loads(whole)).map(as_json)


def in_lines(whole: bytes) -> st.SearchStrategy[bytes]:
    """Damage a file with a JSON value on each line either way."""
    rows = [json.loads(line) for line in whole.splitlines()]
    return in_bytes(whole) | in_values(rows).map(_lines)


def _lines(rows) -> bytes:
    rows = rows if isinstance(rows, list) else [rows]
    return b"\n".join(map(as_json, rows))


def in_safetensors(whole: bytes) -> st.SearchStrategy[bytes]:
    """Damage a safetensors file, or its header, or the JSON in its header's metadata."""
    size = struct.unpack("<Q", whole[:8])[0]
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    for name, text in header.get("__metadata__", {}).items():
        header["__metadata__"][name] = json.loads(text) if text[:1] in "{[" else text
    return in_bytes(whole) | in_values(header).map(lambda changed: _whole(changed, body))


def _whole(header, body: bytes) -> bytes:
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(about, dict):
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()}
        header = {**header, "__metadata__": texts}
    text = as_json(header)
    return struct.pack("<Q", len(text)) + text + body
