import pytest

from retrac_adapters.scripts.commands import options_of, script_of


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--resolution", "64"], {"resolution": 64}),
        (["--snr_gamma=5.0"], {"snr_gamma": 5.0}),
        (["--noise-offset", "-1"], {"noise_offset": -1}),
        (["--use_ema", "--center_crop"], {"use_ema": True, "center_crop": True}),
        (["--prompt", "a sks dog", "--rank", "4"], {"prompt": "a sks dog", "rank": 4}),
        (["--rate", "1e-4", "--resume="], {"rate": 1e-4, "resume": ""}),
        (["--validation_prompts", "a", "b", "--seed", "0"], {"validation_prompts": "a", "seed": 0}),
        ([], {}),
    ],
)
def test_options_are_read_as_a_script_would(words, options):
    assert options_of(["train.py", *words]) == options


def test_a_script_is_known_by_what_it_calls_itself():
    assert script_of(["/x/train_text_to_image_lora.py"]) == "text2image-fine-tune"
    assert script_of(["train_unconditional.py", "--resolution", "64"]) == "train_unconditional"
    assert script_of(["mine.py"]) == "mine"
    assert script_of([]) is None
