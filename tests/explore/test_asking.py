"""A picture that is brought is answered, and nothing of it is kept."""

import tempfile

import pytest
import torch
from PIL import Image

from retrac_plugin.data.image_files import read_examples
from retrac_plugin.errors import InputError
from retrac_plugin.explore.app import check_host
from retrac_plugin.explore.asking import Explorer


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "drawn.png"
    Image.frombytes("L", (2, 2), bytes([0, 85, 170, 255])).save(path)
    return path


def grey_of_seed(prompt, seed, steps):
    """A picture whose pixels are levels 0, 85, 170 and 255, and then the seed's."""
    return torch.tensor([0, 85, 170, seed]).view(1, 2, 2) / 127.5 - 1


def explorer(seen, takes_prompts=False, draw=grey_of_seed):
    def read(path, prompt, cache):
        cache.mkdir()
        (cache / "encoded").write_bytes(b"?")
        seen.append((path, prompt))
        return read_examples(path)

    def answer(pictures):
        levels = ((pictures[0]["sample"] + 1) * 127.5).round().flatten().tolist()
        return f"{pictures.names[0]} {levels}"

    return Explorer(read, answer, takes_prompts, draw)


def test_a_picture_is_answered_by_its_own_pixels_and_nothing_of_it_is_left(
    picture, tmp_path, monkeypatch
):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    seen = []
    assert explorer(seen).ask(picture) == "drawn.png [0.0, 85.0, 170.0, 255.0]"
    assert seen[0][1] is None
    assert seen[0][0] != picture
    assert picture.exists()
    assert list((tmp_path / "t").iterdir()) == []


def test_a_failing_answer_leaves_nothing_either(tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    path = tmp_path / "no.png"
    path.write_bytes(b"no picture")
    with pytest.raises(InputError):
        explorer([]).ask(path)
    assert list((tmp_path / "t").iterdir()) == []


def test_a_prompt_is_asked_for_where_the_model_is_told_one_and_only_there(picture):
    seen = []
    with pytest.raises(InputError, match="give the prompt as well"):
        explorer(seen, takes_prompts=True).ask(picture, "  ")
    explorer(seen, takes_prompts=True).ask(picture, " a cat ")
    explorer(seen).ask(picture, "a cat")
    assert [prompt for _, prompt in seen] == ["a cat", None]
    with pytest.raises(InputError, match="no picture"):
        explorer(seen).ask(None)


def test_a_drawn_picture_is_answered_as_its_file_would_be(tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    answered = explorer([]).ask_drawn(7, 3)
    assert answered == "seed 7, 3 steps.png [0.0, 85.0, 170.0, 7.0]"
    assert list((tmp_path / "t").iterdir()) == []


def test_what_is_drawn_is_told_the_prompt_where_the_model_takes_one():
    seen, drawn = [], []

    def draw(*told):
        drawn.append(told)
        return grey_of_seed(*told)

    explorer(seen, takes_prompts=True, draw=draw).ask_drawn(1, 2, " a cat ")
    explorer(seen, draw=draw).ask_drawn(1, 2, "a cat")
    assert drawn == [("a cat", 1, 2), (None, 1, 2)]
    assert [prompt for _, prompt in seen] == ["a cat", None]
    with pytest.raises(InputError, match="give the prompt"):
        explorer(seen, takes_prompts=True).ask_drawn(1, 2, " ")


def test_where_nothing_draws_the_reason_is_said():
    with pytest.raises(InputError, match="no picture is drawn: the run has no pipeline"):
        explorer([], draw="the run has no pipeline").ask_drawn(1, 2)


@pytest.mark.parametrize(("seed", "steps"), [(-1, 2), (2**63, 2), (0, 0), (0, 1001)])
def test_numbers_out_of_range_are_refused(seed, steps):
    with pytest.raises(InputError, match="expected a seed of 0 or more and 1 to 1000 steps"):
        explorer([]).ask_drawn(seed, steps)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])
def test_hosts_that_others_reach_are_refused_with_the_reason_and_a_way(host):
    with pytest.raises(InputError, match=r"on this machine alone.*ssh -L"):
        check_host(host)
