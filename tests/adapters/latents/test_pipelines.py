import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, StableDiffusionPipeline

import retrac_plugin as retrac
from retrac_adapters.latents.pipelines import pipeline_query
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from tests.adapters.latents.latent_base import write_base
from tests.run_folders import tiny_unet


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    vae, text_encoder, tokenizer, unet = write_base(tmp_path_factory.mktemp("base"), torch.float32)
    made = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


ROUNDED = {"rtol": 1e-4, "atol": 1e-4}
"""What single precision loses in two steps of a U-Net; another seed changes the first digit."""
STEPS = {"num_inference_steps": 2, "height": 16, "width": 16}


def test_a_query_is_the_latent_that_the_pipeline_decodes(pipeline):
    (query,) = pipeline_query(pipeline, "a cat", seed=3, **STEPS)
    generator = torch.Generator().manual_seed(3)
    picture = pipeline("a cat", generator=generator, output_type="pt", **STEPS).images[0]
    with torch.no_grad():
        decoded = pipeline.vae.decode(query["sample"][None] / pipeline.vae.config.scaling_factor)
    torch.testing.assert_close((decoded.sample[0] / 2 + 0.5).clamp(0, 1), picture, **ROUNDED)


def test_its_condition_is_what_training_told_of_the_prompt(pipeline):
    queries = pipeline_query(pipeline, ["a cat", "a red dog"], **STEPS)
    tokens = pipeline.tokenizer(
        ["a cat", "a red dog"], padding="max_length", truncation=True, return_tensors="pt"
    )
    hidden = pipeline.text_encoder(tokens.input_ids)[0]
    for query, expected in zip(queries, hidden, strict=True):
        torch.testing.assert_close(query["encoder_hidden_states"], expected, **ROUNDED)


def test_a_picture_depends_on_its_own_seed_alone(pipeline):
    both = pipeline_query(pipeline, ["a cat", "a red dog"], seed=3, **STEPS)
    (alone,) = pipeline_query(pipeline, "a red dog", seed=4, **STEPS)
    torch.testing.assert_close(both[1], alone, **ROUNDED)


def test_queries_of_a_pipeline_are_attributed(pipeline):
    queries = pipeline_query(pipeline, "a cat", **STEPS)
    model = retrac.wrap(pipeline.unet, DDPMScheduler())
    checkpoint = retrac.Checkpoint(pipeline.unet.state_dict(), 1.0, 1)
    attributor = retrac.DiffusionReTrac(model, [checkpoint], query_draws=retrac.Strided(2))
    train = [{**queries[0], "sample": torch.randn(3, 8, 8)} for _ in range(2)]
    assert attributor.attribute(train, queries).values.isfinite().all()


def test_another_pipeline_says_what_it_tells(pipeline):
    class Another:
        device = pipeline.device

        def __call__(self, *args, **kwargs):
            return pipeline(*args, **kwargs)

    def conditions(asked, prompts):
        return {"pooled_projections": torch.arange(len(prompts))[:, None]}

    (query,) = pipeline_query(Another(), "a cat", conditions=conditions, **STEPS)
    assert query.keys() == {"sample", "sample_key", "pooled_projections"}
    with pytest.raises(InputError, match="got a Another: pass conditions="):
        pipeline_query(Another(), "a cat")


def test_an_unconditional_pipelines_pictures_are_queries(pipeline):
    plain = DDPMPipeline(tiny_unet(), DDPMScheduler())
    plain.set_progress_bar_config(disable=True)
    first, again = (pipeline_query(plain, seed=1, num_inference_steps=2) for _ in range(2))
    assert torch.equal(first[0]["sample"], again[0]["sample"])
    assert first[0]["sample"].shape == (1, 8, 8)
    assert first[0]["sample"].min() < 0
    with pytest.raises(InputError, match="takes no prompt"):
        pipeline_query(plain, "a cat")
    with pytest.raises(InputError, match="generates from a prompt"):
        pipeline_query(pipeline)


def test_a_query_is_drawn_for_by_its_seed_and_prompt_and_not_by_last_bits(pipeline):
    """Beside another picture, or on another machine, a latent ends in other bits."""
    both = pipeline_query(pipeline, ["a cat", "a red dog"], seed=3, **STEPS)
    (alone,) = pipeline_query(pipeline, "a red dog", seed=4, **STEPS)
    rounded = {**alone, "sample": alone["sample"] * (1 + 1e-6)}
    keys = [
        k for b in ExampleSource([both[1], alone, rounded], "queries").blocks(4) for k in b.keys
    ]
    assert len(set(keys)) == 1
    others = (("a red dog", 5, STEPS), ("a cat", 4, STEPS), ("a red dog", 4, {**STEPS, "eta": 0.5}))
    asked = [pipeline_query(pipeline, p, seed=s, **call)[0]["sample_key"] for p, s, call in others]
    assert len({*asked, *keys}) == 4


def test_an_unconditional_query_is_drawn_for_by_its_seed():
    plain = DDPMPipeline(tiny_unet(), DDPMScheduler())
    plain.set_progress_bar_config(disable=True)
    call = {"batch_size": 2, "num_inference_steps": 2}
    keys = [q["sample_key"] for s in (1, 1, 2) for q in pipeline_query(plain, seed=s, **call)]
    assert keys[:2] == keys[2:4]
    assert len(set(keys)) == 4
