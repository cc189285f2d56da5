"""Each of the two classes, with a diffusion model and without."""

import pytest

from tests.frameworks.captum_cases import CORES, SETTINGS


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def setting(request):
    return request.param()


@pytest.fixture(params=CORES, ids=lambda c: c.__name__)
def ours(request, setting):
    return setting.make(request.param)
