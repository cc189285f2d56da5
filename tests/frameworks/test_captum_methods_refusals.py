"""What Captum's own methods cannot do on a diffusion model, and say."""

import pytest

from retrac_plugin.errors import GradientError, InputError
from tests.frameworks.method_table import scores
from tests.small import small_case
from tests.tiny import tiny_case


def test_a_hessian_that_is_too_large():
    case = tiny_case()
    with pytest.raises(InputError, match=r"the Hessian of mid_block, .* has .* rows"):
        scores("captum-naive-if", case, layers=["mid_block", "up_blocks"])


def test_a_hessian_that_curves_upwards_nowhere():
    with pytest.raises(GradientError, match=r"NaiveInfluenceFunction with the settings .*no pos"):
        scores("captum-naive-if", small_case(), hessian_inverse_tol=1e9)


def test_a_network_that_changes_what_its_last_layer_returns():
    case = small_case()
    case.network.leave.register_forward_hook(lambda layer, inputs, output: 2 * output)
    with pytest.raises(InputError, match="SmallDenoiser does not"):
        scores("captum-tracin-fast", case)


def test_a_convolution_that_is_no_linear_layer_on_patches_of_zeros():
    case = small_case()
    case.network.leave.padding_mode = "circular"
    with pytest.raises(InputError, match="padded by zeros"):
        scores("captum-tracin-fast", case)


def test_a_last_layer_that_is_frozen():
    case = small_case()
    case.network.leave.requires_grad_(False)
    with pytest.raises(InputError, match="that of SmallDenoiser is frozen"):
        scores("captum-tracin-rand-proj", case)


def test_a_layer_that_is_not_there():
    with pytest.raises(InputError, match=r"SmallDenoiser has no module 'mid_block'.*such as en"):
        scores("captum-similarity", small_case())
