"""What dattri's two attributors refuse."""

import pytest
from torch.utils.data import SubsetRandomSampler

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor
from tests.frameworks.dattri_tools import QUERY_DRAWS, TRAIN_DRAWS, loader, task_of
from tests.small import small_case

# Behind ours, which silences what dattri's import warns of.
from dattri.task import AttributionTask  # isort: skip


def test_a_task_that_knows_no_timesteps_takes_no_draws():
    network = small_case().network
    plain = AttributionTask(lambda params, data: 0, network, network.state_dict())
    with pytest.raises(InputError, match=r"train_draws"):
        DiffusionReTracAttributor(plain, train_draws=retrac.Uniform(1))


def test_a_task_with_another_output_function():
    task = task_of(small_case(), target="mean")
    with pytest.raises(InputError, match=r"got target='mean'.*defined by the loss"):
        DiffusionReTracAttributor(task)


def test_weights_in_the_words_of_dattri():
    with pytest.raises(ValueError, match="length of checkpoints and weights lists don't match"):
        DiffusionReTracAttributor(task_of(small_case()), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("names", ["leave", ["leave.bias", "enter.wieght"]])
def test_a_parameter_that_is_not_there(names):
    with pytest.raises(InputError, match=r"matches (leave|enter\.wieght)\. Set"):
        DiffusionReTracAttributor(task_of(small_case()), layer_name=names)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": SubsetRandomSampler([0, 1])}])
@pytest.mark.parametrize("side", ["train", "queries"])
def test_shuffled_loaders(options, side):
    case = small_case()
    data = {"train": loader(case.train), "queries": loader(case.queries)}
    data[side] = loader(data[side].dataset, **options)
    with pytest.raises(InputError, match=f"{side}: the DataLoader shuffles"):
        DiffusionReTracAttributor(task_of(case)).attribute(*data.values())


def test_data_drawn_for_the_other_side():
    case = small_case()
    task = task_of(case)
    train = loader(task.drawn(case.train, QUERY_DRAWS, "query"))
    with pytest.raises(InputError, match=r"drawn for the train side, .*for the query side"):
        DiffusionReTracAttributor(task).attribute(train, case.queries)


def test_a_loader_without_batches():
    case = small_case()
    task = task_of(case)
    for data in (case.train, task.drawn(case.train, TRAIN_DRAWS, "train")):
        with pytest.raises(InputError, match="expected a DataLoader that makes batches"):
            DiffusionReTracAttributor(task).attribute(loader(data, None), case.queries)


def test_data_with_draws_other_than_the_attributors():
    case = small_case()
    task = task_of(case)
    train = loader(task.drawn(case.train, TRAIN_DRAWS, "train"))
    attributor = DiffusionReTracAttributor(task, train_draws=retrac.Uniform(1, seed=9))
    with pytest.raises(InputError, match=r"train_draws to be those of the data.*seed=9"):
        attributor.attribute(train, case.queries)


def test_the_cores_options_are_checked_when_they_are_given():
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        DiffusionReTracAttributor(task_of(small_case()), batch_size=0)
    with pytest.raises(InputError, match=r"device: .*abacus"):
        DiffusionReTracAttributor(task_of(small_case()), device="abacus")
