"""Layers that wait for more rows change nothing but the cost."""

import pytest
import torch

from retrac_plugin.gradients.consumers import deferring
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.windows import MANY_VECTORS
from tests.gradients.cases import build


def cut(batch, sizes):
    start = 0
    for size in sizes:
        yield {name: value[start : start + size] for name, value in batch.items()}
        start += size


@pytest.fixture
def everything_waits(everything_is_large, monkeypatch):
    monkeypatch.setattr(deferring, "_SHARE", 0)


@pytest.mark.parametrize("name", ["unet", "lora", "shared_module", "without_rules", "embedding"])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 2), (1, 3), (3, 1)])
def test_waiting_changes_no_product(name, sizes, everything_waits):
    case = build(name)
    engine = StreamedEngine(case.losses, case.parameters)
    vectors = torch.randn(MANY_VECTORS, engine.width, dtype=torch.float64)
    (whole,) = engine.products([case.batch], 1, vectors)
    few = list(engine.products(cut(case.batch, sizes), 1, vectors[:3]))
    many = list(engine.products(cut(case.batch, sizes), 1, vectors))
    assert tuple(len(part.norms) for part in many) == sizes
    for part, other in zip(many, few, strict=True):
        torch.testing.assert_close(part.dots[:, :3], other.dots)
        torch.testing.assert_close(part.losses, other.losses)
    torch.testing.assert_close(torch.cat([part.dots for part in many]), whole.dots)
    torch.testing.assert_close(torch.cat([part.norms for part in many]), whole.norms)


def test_few_vectors_do_not_wait():
    """Each batch's products come before the next batch is asked for."""
    case = build("linear")
    engine = StreamedEngine(case.losses, case.parameters)
    asked = []

    def batches():
        for i, part in enumerate(cut(case.batch, (1, 1, 1, 1))):
            asked.append(i)
            yield part

    vectors = torch.zeros(3, engine.width, dtype=torch.float64)
    for i, _ in enumerate(engine.products(batches(), 1, vectors)):
        assert asked == list(range(i + 1))
