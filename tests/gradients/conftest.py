import pytest

from retrac_plugin.gradients import contributions, layout


@pytest.fixture
def everything_is_large(monkeypatch):
    """Stream even tiny layers in blocks, as large ones are."""
    monkeypatch.setattr(layout, "SMALL", 8)
    monkeypatch.setattr(layout, "PAGE", 20)
    monkeypatch.setattr(contributions, "BLOCK", 512)
