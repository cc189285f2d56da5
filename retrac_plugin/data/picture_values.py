"""What gives away that pictures are not what a model was trained on: their values, their size."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from retrac_plugin.errors import InputError

LARGEST = 32.0
"""Values that are never negative and reach beyond it are bytes; latents have both signs."""

Shape = tuple[int, int, int]
"""``(channels, height, width)``"""


def check_values(samples: Tensor, first: int, role: str) -> None:
    """Refuse pictures in 0 to 255: models are trained on [-1, 1] or on latents.

    Args:
        samples: Some of them together, ``[sample, ...]``.
        first: The first one's id, for the message.
        role: What they are, for the message.

    Raises:
        InputError: If they are such.
    """
    if not samples.is_floating_point() or not samples.numel():
        return  # which is another error
    low, high = (float(value) for value in samples.aminmax())
    if low >= 0 and high > LARGEST:
        raise InputError(
            f"{role}: example {first} and those after it hold values from {low:g} to {high:g}, as "
            "bytes do; expected what the model was trained on, usually [-1, 1]. Scale them as "
            "training did, such as images / 127.5 - 1"
        )


class _Examples(Protocol):
    names: list[str]

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


E = TypeVar("E", bound=_Examples)


def check_shape(examples: E, shape: Shape | None) -> E:
    """Return pictures, the first of which has the shape that the model was made for.

    Args:
        examples: Pictures of one shape.
        shape: The model's, or None if it is not known.

    Raises:
        InputError: If it has another.
    """
    if shape is None or not len(examples.names):
        return examples
    found = tuple(examples[0]["sample"].shape)
    if found != shape:
        raise InputError(
            f"{examples.names[0]!r} has the shape {list(found)}, expected {list(shape)} (channels, "
            "height, width), which the model was made for. Pass the pictures as training saw them; "
            "if it saw another size, say so by arguments={'resolution': ...}"
        )
    return examples
