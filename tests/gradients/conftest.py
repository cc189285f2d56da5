from dataclasses import replace

import pytest

from retrac_plugin.gradients import cutting, layout

CUTS = {
    "for a processor": replace(cutting.IN_CACHE, block=512, together=2048, cache=512),
    "for a GPU": replace(cutting.LARGE, block=512, together=2048),
    "for a GPU, in one piece": cutting.LARGE,
}


@pytest.fixture(params=CUTS.values(), ids=CUTS)
def everything_is_large(request, monkeypatch):
    """Stream even tiny layers in blocks, as large ones are, cut for one device or another."""
    monkeypatch.setattr(layout, "SMALL", 8)
    monkeypatch.setattr(layout, "PAGE", 20)
    monkeypatch.setattr(cutting, "IN_CACHE", request.param)
