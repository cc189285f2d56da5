"""Examples with their draws, as the frameworks' own methods get them."""

import pytest

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.drawn import DrawnExamples
from tests.small import small_case


class Flipped(retrac.Uniform):
    """Draws as of a training that flipped its images and kept them."""

    def draw(self, request):
        draw = super().draw(request)
        flipped = draw.noise[:, :, 0].flip(-1)
        return draw._replace(samples=flipped)


def test_samples_that_changed_from_visit_to_visit_are_refused():
    case = small_case()
    steps = {k: checkpoint.step for k, checkpoint in enumerate(case.checkpoints)}
    drawn = DrawnExamples(case.train, Flipped(1), "train", case.model, steps, ())
    with pytest.raises(InputError, match="another image at each visit"):
        drawn[0]
