"""What each option of diffusers' training scripts means for attribution: the one table of them.

An option is followed, changes nothing, or is a finding with its meaning. One that is in none of the
three is a finding too, since nobody looked at what it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FOLLOWED = _names(
    # what was trained, and from which weights
    "pretrained_model_name_or_path revision variant pretrained_vae_model_name_or_path rank "
    "lora_alpha use_ema "
    # the training set
    "train_data_dir instance_data_dir class_data_dir dataset_name image_column caption_column "
    "instance_prompt class_prompt with_prior_preservation prior_loss_weight max_train_samples seed "
    "resolution center_crop image_interpolation_mode preserve_input_precision "
    # what the denoiser is told
    "class_labels_conditioning guidance_scale max_sequence_length tokenizer_max_length "
    "text_encoder_use_attention_mask "
    # timesteps, noise and loss
    "prediction_type noise_offset offset_noise snr_gamma loss_type huber_c huber_schedule "
    "timestep_bias_strategy timestep_bias_multiplier timestep_bias_portion timestep_bias_begin "
    "timestep_bias_end weighting_scheme logit_mean logit_std mode_scale precondition_outputs "
    "do_edm_style_training "
    # step sizes and checkpoints
    "learning_rate train_batch_size gradient_accumulation_steps max_grad_norm max_train_steps "
    "checkpointing_steps "
    # no option of a script, but told to read_run in the same way
    "num_samples script"
)
"""Options that a reader looks at."""

HARMLESS = _names(
    # read off the scheduler, the checkpoints or their optimiser, which the run saved
    "ddpm_beta_schedule ddpm_num_steps model_config_name_or_path lora_blocks lora_layers "
    "lora_unet_blocks use_dora lr_scheduler lr_warmup_steps lr_num_cycles lr_power num_epochs "
    "num_train_epochs adam_beta1 adam_beta2 adam_epsilon adam_weight_decay text_encoder_lr "
    "adam_weight_decay_text_encoder prodigy_beta3 prodigy_decouple prodigy_safeguard_warmup "
    "prodigy_use_bias_correction use_8bit_adam non_ema_revision ema_inv_gamma "
    "ema_max_decay ema_power foreach_ema offload_ema resume_from_checkpoint "
    # the rate that is kept is the scaled one; what was deleted is seen by the gaps
    "scale_lr checkpoints_total_limit "
    # the same samples and conditions: the recorder knows repeated images for one
    "repeats num_class_images sample_batch_size prior_generation_precision cache_latents "
    "pre_compute_text_embeddings tokenizer_name dataset_config_name dataloader_num_workers "
    "cache_dir enable_vae_tiling "
    # only with another option that is a finding
    "dream_detail_preservation skip_save_text_encoder token_abstraction initializer_concept "
    "num_new_tokens_per_abstraction train_text_encoder_frac train_text_encoder_ti_frac "
    "enable_t5_ti "
    # how it is computed: rounding, memory, devices
    "mixed_precision allow_tf32 gradient_checkpointing disable_training_autocast local_rank "
    "enable_xformers_memory_efficient_attention enable_npu_flash_attention set_grads_to_none "
    "offload fsdp_text_encoder upcast_before_saving "
    # validation, logging and what is written at the end
    "validation_prompt validation_prompts validation_epochs validation_steps validation_images "
    "validation_image validation_scheduler validation_guidance_scale validation_model_path "
    "validation_num_inference_steps num_validation_images final_validation_prompt "
    "skip_final_inference save_images_epochs save_model_epochs eval_batch_size "
    "ddpm_num_inference_steps debug_loss report_to logger logging_dir tracker_project_name "
    "push_to_hub hub_model_id hub_token hub_private_repo output_dir overwrite_output_dir "
    "output_kohya_format"
)
"""Options that change neither the loss nor timesteps, noise, samples or conditions."""


@dataclass(frozen=True)
class Meaning:
    """What an option did to training that attribution does not follow.

    Attributes:
        text: In a few words.
        unless: Values, beside None, False, 0 and ``"none"``, at which it did nothing.
        of_samples: Whether it changed nothing but the sample, so that kept samples have it.
    """

    text: str
    unless: tuple[Any, ...] = ()
    of_samples: bool = False

    def applies(self, value: Any) -> bool:
        """Say whether the option was used."""
        off = str(value).lower() in ("", "none", "false", "0", "0.0") or not value
        return not off and value not in self.unless


_EMPTY_CAPTIONS = "some captions were left out at random, the examples' are kept"
_ENCODED_OTHERWISE = "captions were encoded otherwise than they are here"
_TRAINED_WORDS = (
    "new words of the text encoder were trained too; influence through them is left out"
)
_QUANTISED = "the base's weights were quantised, here they are not"

FINDINGS: Mapping[str, Meaning] = {
    "input_perturbation": Meaning(
        "the noise of the noisy sample was perturbed, that of the target not"
    ),
    "dream_training": Meaning("DREAM changed the noisy sample by the network's own prediction"),
    "train_text_encoder": Meaning(
        "the text encoder was trained too; influence through it is left out"
    ),
    "random_flip": Meaning(
        "images were flipped at random, the dataset's are taken as they are", of_samples=True
    ),
    "proportion_empty_prompts": Meaning(_EMPTY_CAPTIONS),
    "caption_dropout": Meaning(_EMPTY_CAPTIONS),
    "conditioning_dropout_prob": Meaning(
        "conditions were left out at random, the examples' are kept"
    ),
    "lora_dropout": Meaning("the adapter's inputs were dropped at random, here they are not"),
    "aspect_ratio_buckets": Meaning(
        "images were cropped to one of several shapes, here to a square", of_samples=True
    ),
    "use_aspect_ratio_buckets": Meaning(
        "images were cropped to one of several shapes, here to a square", of_samples=True
    ),
    "train_transformer_frac": Meaning(
        "the transformer was trained for a part of the epochs alone", unless=(1, 1.0)
    ),
    "use_blora": Meaning("the adapter's layers were trained by B-LoRA, as a plain adapter here"),
    "clip_skip": Meaning(_ENCODED_OTHERWISE),
    "system_prompt": Meaning(_ENCODED_OTHERWISE),
    "complex_human_instruction": Meaning(_ENCODED_OTHERWISE),
    "upsample_prompt": Meaning(_ENCODED_OTHERWISE),
    "prompt_enhancer_head_id": Meaning(_ENCODED_OTHERWISE),
    "remote_text_encoder": Meaning(_ENCODED_OTHERWISE),
    "text_encoder_out_layers": Meaning(_ENCODED_OTHERWISE),
    "pretrained_text_encoder_4_name_or_path": Meaning(_ENCODED_OTHERWISE),
    "pretrained_tokenizer_4_name_or_path": Meaning(_ENCODED_OTHERWISE),
    "train_text_encoder_ti": Meaning(_TRAINED_WORDS),
    "placeholder_token": Meaning(_TRAINED_WORDS),
    "initializer_token": Meaning(_TRAINED_WORDS),
    "learnable_property": Meaning("captions were made of templates, the examples' are taken"),
    "num_vectors": Meaning(_TRAINED_WORDS),
    "save_steps": Meaning("of textual inversion, whose embeddings are not attributed"),
    "save_as_full_pipeline": Meaning("of textual inversion, whose embeddings are not attributed"),
    "no_safe_serialization": Meaning("of textual inversion, whose embeddings are not attributed"),
    "controlnet_model_name_or_path": Meaning("a ControlNet was trained, which is not attributed"),
    "conditioning_image_column": Meaning("the denoiser was told pictures; the examples' are taken"),
    "cond_image_column": Meaning("the denoiser was told pictures; the examples' are taken"),
    "original_image_column": Meaning("the denoiser was told pictures; the examples' are taken"),
    "edited_image_column": Meaning("the denoiser was told pictures; the examples' are taken"),
    "edit_prompt_column": Meaning("captions are of another column, the examples' are taken"),
    "val_image_url": Meaning("of InstructPix2Pix, whose pictures as conditions are not read"),
    "vae_encode_mode": Meaning("the autoencoder encoded pictures that the denoiser was told"),
    "do_fp8_training": Meaning(_QUANTISED),
    "bnb_quantization_config_path": Meaning(_QUANTISED),
    "optimizer": Meaning(
        "steps were those of another optimiser", unless=("AdamW", "adamW", "adamw")
    ),
}
"""Options that change what attribution does not follow, by name."""

KNOWN = FOLLOWED | HARMLESS | FINDINGS.keys()
"""Every option that somebody looked at."""

MATTERING = (FOLLOWED | FINDINGS.keys()) - frozenset(
    [
        "pretrained_model_name_or_path",
        "train_data_dir",
        "instance_data_dir",
        "class_data_dir",
        "max_train_steps",
        "checkpointing_steps",
        "checkpoints_total_limit",
        "seed",
    ]
)
"""Options that must not change when a run is resumed; folders may move, and steps may be added."""


def unknown_options(values: Mapping[str, Any]) -> list[str]:
    """Return the options of a run that the table does not know, but those that were not used."""
    used = (name for name, value in values.items() if value is not None and value is not False)
    return sorted(name for name in used if name not in KNOWN)
