import torch

from retrac_plugin.report.curating import near_duplicates, outliers

NAMES = [f"{i}.png" for i in range(6)]


def pictures():
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_outliers_are_the_highest_and_say_of_how_many():
    group = outliers(torch.tensor([1.0, 5.0, 3.0, 4.0]), most=2)
    assert group.members == [(1, "+5.00"), (3, "+4.00")]
    assert "The 2 of 4 training images" in group.remark


def test_outliers_with_equal_values_come_in_their_order():
    assert [i for i, _ in outliers(torch.ones(4), 3).members] == [0, 1, 2]


def test_the_power_of_ten_is_said_where_it_is_taken_out():
    group = outliers(torch.tensor([1e-5, 5e-5]), most=2)
    assert group.members[0] == (1, "+5.00")
    assert "scores \N{MULTIPLICATION SIGN} 10⁻⁵" in group.remark


def test_a_picture_a_little_brighter_is_a_near_duplicate_and_no_other():
    images = pictures()
    images[4] = images[1] * 0.97 + 0.02
    group = near_duplicates(images, range(6), NAMES)
    assert group.members == [(1, "like 4.png"), (4, "like 1.png")]


def test_a_picture_of_another_size_is_one_too():
    images = list(pictures())
    images[3] = images[0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert near_duplicates(images, [0, 2, 3], NAMES).members == [
        (0, "like 3.png"),
        (3, "like 0.png"),
    ]


def test_there_is_no_group_where_all_differ_or_nothing_can_be_shown():
    assert near_duplicates(pictures(), range(6), NAMES) is None
    assert near_duplicates([None, None], range(2), NAMES) is None
