"""Usual slips end in an error that names the field and what to do."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from tests.adapters.zoo import make_examples, make_network

NAME = "unet-text"


def attribute(examples, **objective):
    network = make_network(NAME)
    schedule = retrac.VariancePreserving(torch.linspace(0.99, 0.01, 10), "epsilon")
    model = retrac.wrap(network, schedule, **objective)
    checkpoints = [retrac.Checkpoint(network.state_dict())]
    draws = {"query_draws": retrac.Strided(1), "progress": False}
    return retrac.DiffusionTracIn(model, checkpoints, **draws).attribute(examples, examples[:1])


def told(**more):
    return [{**example, **more} for example in make_examples(NAME, 2)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("caption", "a cat", r"'caption': example 0 holds a str, .* Encode captions"),
        ("class_labels", None, r"'class_labels': example 0 holds a NoneType, expected a tensor"),
        ("residuals", [torch.zeros(2), torch.zeros(2)], r"'residuals': example 0 holds a list"),
        ("index", 1, r"cannot be called with sample \[.*index \[\d\]: .* argument 'index'"),
    ],
)
def test_a_field_that_is_no_condition_is_named(field, value, message):
    with pytest.raises(InputError, match=message):
        attribute(told(**{field: value}))


def test_a_condition_with_a_batch_dimension_is_named_with_its_shape():
    examples = told()
    for example in examples:
        example["encoder_hidden_states"] = example["encoder_hidden_states"][None]
    with pytest.raises(
        InputError, match=r"encoder_hidden_states \[\d, 1, 3, 6\].* without a batch"
    ):
        attribute(examples)


def test_a_prediction_must_be_a_tensor_and_a_loss_elementwise():
    with pytest.raises(InputError, match="predict returned a UNet2DConditionOutput: expected"):
        attribute(told(), predict=lambda call, x, t, c: call(x, t, **c))
    with pytest.raises(InputError, match=r"the loss returned the shape \(\) .* reduction='none'"):
        attribute(told(), loss=torch.nn.MSELoss())


def test_stacked_tensors_are_no_examples():
    with pytest.raises(InputError, match=r"got one mapping with the fields \['sample'\]"):
        ExampleSource({"sample": torch.zeros(2, 3, 8, 8)}, "train")
