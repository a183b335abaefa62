"""A GBST model does all that a Transformers model does."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForTextEncoding,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutput

from kebyt5 import (
    GBSWT5Config,
    GBSWT5EncoderModel,
    GBSWT5ForConditionalGeneration,
    GBSWT5Model,
)
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration

IDS = torch.randint(3, 259, (2, 40), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(40) < torch.tensor([[40], [25]])).long()
LABELS = torch.randint(3, 259, (2, 9), generator=torch.Generator().manual_seed(1))


def close(ours, expected, tolerance=1e-5):
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=tolerance)


# Parameters


def test_lm_head_is_untied_exactly_when_the_config_says_so(tiny_model):
    untied, tied = tiny_model(), tiny_model(tie_word_embeddings=True)
    assert untied.lm_head.weight is not untied.shared.weight
    assert tied.lm_head.weight is tied.shared.weight
    for model in (untied, tied):
        model.tie_weights()  # also when Transformers ties once more
        assert model.encoder.embed_tokens.embeds.weight is model.shared.weight
        assert model.decoder.embed_tokens.weight is model.shared.weight
    assert untied.lm_head.weight is not untied.shared.weight


def test_a_tied_model_scales_what_lm_head_reads(tiny_model):
    model = tiny_model(tie_word_embeddings=True)
    output = model(IDS, MASK, labels=LABELS, output_hidden_states=True)
    states = output.decoder_hidden_states[-1]
    close(output.logits, F.linear(states * model.config.d_model**-0.5, model.shared.weight))


@pytest.mark.parametrize("tied", [False, True])
def test_a_plain_model_ties_as_its_config_says(tiny_model, tied, tmp_path):
    tiny_model(gbst=False, tie_word_embeddings=tied).save_pretrained(tmp_path)
    model = KEByT5ForConditionalGeneration.from_pretrained(tmp_path)
    model.tie_weights()
    assert (model.lm_head.weight is model.shared.weight) == tied
    vanilla = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    close(model.eval()(IDS, MASK, labels=LABELS).logits, vanilla(IDS, MASK, labels=LABELS).logits)


@pytest.mark.parametrize("gbst", [True, False])
def test_what_t5_has_elsewhere_is_taken_by_name_alone(tiny_model, gbst):
    model = tiny_model(gbst)
    with pytest.raises(TypeError, match="positional arguments"):
        model(IDS, MASK, LABELS, torch.ones_like(LABELS))  # T5's mask of the decoder


def test_a_config_is_not_changed_by_a_model_of_it():
    config = T5Config(d_model=16, d_ff=32, num_layers=1, tie_word_embeddings=False)
    before = config.to_dict()
    KEByT5ForConditionalGeneration(config)
    assert config.to_dict() == before


def test_fresh_weights_have_the_scale_of_t5(tiny_model):
    model = tiny_model(d_model=128, d_ff=256, d_kv=32)
    config = T5Config(
        vocab_size=384, d_model=128, d_ff=256, d_kv=32, num_heads=4, num_layers=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    expected = {name: p.std() for name, p in T5ForConditionalGeneration(config).named_parameters()}
    for name, parameter in model.named_parameters():
        if name in expected and parameter.numel() > 1000:
            assert 0.8 < parameter.std() / expected[name] < 1.25, name
    loss = model(IDS, labels=LABELS).loss
    assert loss < 8  # log 384 = 6 for a model that knows nothing


# Encoder output and its mask


def test_encoder_output_carries_the_mask_of_its_own_positions(tiny_model):
    output = tiny_model().encoder(IDS, MASK)
    assert output.last_hidden_state.shape == (2, 14, 32)
    assert output.attention_mask.sum(1).tolist() == [14, 9]


def test_return_dict_none_means_what_the_configuration_says(tiny_model):
    model = tiny_model()
    encoder = GBSWT5EncoderModel(model.config).eval()
    assert encoder(IDS, MASK, return_dict=None).attention_mask.shape == (2, 14)
    assert model.encoder(IDS, MASK, return_dict=None).attention_mask.shape == (2, 14)
    assert tiny_model(gbst=False).encoder(IDS, MASK, return_dict=None).last_hidden_state.shape == (
        2,
        40,
        32,
    )


def test_an_exported_model_takes_other_lengths(tiny_model):
    model = tiny_model(subword_blocks=[1, 3])
    ids = torch.randint(3, 259, (1, 200))
    lengths = {"input_ids": {1: torch.export.Dim.AUTO}}
    exported = torch.export.export(model.encoder, (ids,), dynamic_shapes=lengths, strict=False)
    longer = torch.randint(3, 259, (1, 900))
    close(exported.module()(longer).last_hidden_state, model.encoder(longer).last_hidden_state)


def test_the_trainer_sees_the_decoders_mask(tiny_model):
    names = inspect.signature(tiny_model().forward).parameters
    assert "decoder_attention_mask" in names


@pytest.mark.parametrize("downsample", [1, 3])
def test_given_encoder_outputs_decode_as_fresh_ones(tiny_model, downsample):
    model = tiny_model(downsample_factor=downsample)
    expected = model(IDS, MASK, labels=LABELS).logits
    encoded = model.encoder(IDS, MASK)
    close(model(encoder_outputs=encoded, labels=LABELS).logits, expected)
    for captured in ({}, {"output_hidden_states": True}):
        as_tuple = model.encoder(IDS, MASK, return_dict=False, **captured)
        output = model(encoder_outputs=as_tuple, labels=LABELS)
        close(output.logits, expected)
        assert (output.encoder_hidden_states is not None) == bool(captured)
    bare = BaseModelOutput(last_hidden_state=encoded.last_hidden_state)
    for outputs in (bare, (encoded.last_hidden_state,)):
        close(model(encoder_outputs=outputs, attention_mask=MASK, labels=LABELS).logits, expected)


@pytest.mark.parametrize("gbst", [True, False])
def test_given_encoder_outputs_generate_as_fresh_ones(tiny_model, gbst):
    model = tiny_model(gbst)
    options = {"max_new_tokens": 8, "do_sample": False}
    expected = model.generate(IDS, attention_mask=MASK, **options)
    encoded = model.get_encoder()(IDS, attention_mask=MASK, return_dict=True)
    found = model.generate(encoder_outputs=encoded, attention_mask=MASK, **options)
    assert torch.equal(found, expected)
    assisted = model.generate(IDS[:1], assistant_model=model, **options)
    assert torch.equal(assisted, model.generate(IDS[:1], **options))


def test_a_byte_mask_that_does_not_fit_given_states_is_refused(tiny_model):
    model = tiny_model()
    states = BaseModelOutput(last_hidden_state=torch.zeros(2, 5, 32))
    with pytest.raises(ValueError, match="40 bytes"):
        model(encoder_outputs=states, attention_mask=MASK, labels=LABELS)


def test_left_padding_generates_as_right_padding(tiny_model):
    model = tiny_model()
    right = model.generate(input_ids=IDS[1:], attention_mask=MASK[1:], max_new_tokens=12)
    left = model.generate(
        input_ids=IDS[1:].roll(15, 1), attention_mask=MASK[1:].roll(15, 1), max_new_tokens=12
    )
    assert torch.equal(left, right)


def test_embeddings_stand_in_for_ids(tiny_model):
    model = tiny_model()
    output = model(inputs_embeds=model.shared(IDS), attention_mask=MASK, labels=LABELS)
    close(output.logits, model(IDS, MASK, labels=LABELS).logits)


# Loss


def test_loss_ignores_masked_labels_and_takes_any_memory_layout(tiny_model):
    model = tiny_model(z_loss=0.0)
    labels = LABELS.clone()
    labels[1, 4:] = -100
    scattered = torch.stack([labels, labels], dim=-1)[..., 0]
    assert not scattered.is_contiguous()
    output = model(IDS, MASK, labels=scattered)
    expected = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    close(output.loss, expected)


def test_z_loss_is_the_mean_square_of_log_z_over_counted_labels(tiny_model):
    labels = LABELS.clone()
    labels[1, 4:] = -100
    model = tiny_model(z_loss=0.5)
    output = model(IDS, MASK, labels=labels)
    plain = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    log_z = output.logits.logsumexp(-1)[labels != -100]
    close(output.loss, plain + 0.5 * log_z.square().mean())


def test_losses_of_parts_add_up_to_that_of_the_batch(tiny_model):
    # As the trainer does when it accumulates gradients; the parts have unequal labels.
    model = tiny_model(z_loss=0.1)
    labels = LABELS.clone()
    labels[1, 4:] = -100
    whole = model(IDS, MASK, labels=labels).loss
    count = (labels != -100).sum()
    parts = [
        model(IDS[i : i + 1], MASK[i : i + 1], labels=labels[i : i + 1], num_items_in_batch=count)
        for i in range(2)
    ]
    close(sum(part.loss for part in parts), whole)


# What Transformers offers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3},
        {"do_sample": True, "top_k": 20},
        {"cache_implementation": "static"},
        {"use_cache": False},
    ],
    ids=str,
)
def test_generation_does_not_depend_on_the_batch(tiny_model, options):
    model = tiny_model()
    together = model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=10, **options)
    assert together.shape[0] == 2
    if "do_sample" not in options:
        alone = model.generate(input_ids=IDS[1:, :25], max_new_tokens=10, **options)[0]
        assert torch.equal(together[1, : len(alone)], alone)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_implementations_agree(tiny_model, attention):
    model = tiny_model()
    expected = model(IDS, MASK, labels=LABELS).logits
    model.set_attn_implementation(attention)
    close(model(IDS, MASK, labels=LABELS).logits, expected)


def test_hidden_states_and_attentions_are_returned(tiny_model):
    model = tiny_model()
    model.set_attn_implementation("eager")
    output = model(IDS, MASK, labels=LABELS, output_hidden_states=True, output_attentions=True)
    assert [h.shape for h in output.encoder_hidden_states] == [(2, 14, 32)] * 3
    assert [a.shape for a in output.encoder_attentions] == [(2, 4, 14, 14)] * 2
    assert [a.shape for a in output.cross_attentions] == [(2, 4, 9, 14)] * 2
    assert output.cross_attentions[0][1, :, :, 9:].abs().max() < 1e-6
    as_tuple = model(IDS, MASK, labels=LABELS, return_dict=False)
    close(as_tuple[0], output.loss)
    close(as_tuple[1], output.logits)


def test_gradient_checkpointing_changes_no_gradient(tiny_model):
    model = tiny_model().train()
    model(IDS, MASK, labels=LABELS).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(IDS, MASK, labels=LABELS).loss.backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, expected[name])


def test_compiled_model_agrees(tiny_model):
    model = tiny_model()
    expected = model(IDS, MASK, labels=LABELS)
    compiled = torch.compile(model, backend="aot_eager")
    output = compiled(IDS, MASK, labels=LABELS)
    close(output.logits, expected.logits, 1e-4)
    output.loss.backward()
    assert model.encoder.embed_tokens.convolution.proj.weight.grad.isfinite().all()


@pytest.mark.slow
def test_compiled_model_agrees_with_the_default_compiler(tiny_model):
    model = tiny_model()
    expected = model(IDS, MASK, labels=LABELS).logits
    close(torch.compile(model)(IDS, MASK, labels=LABELS).logits, expected, 1e-4)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_loads_and_runs(tiny_model, tmp_path, dtype, bound):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    half = GBSWT5ForConditionalGeneration.from_pretrained(tmp_path, dtype=dtype).eval()
    assert half.shared.weight.dtype == dtype
    with torch.no_grad():
        output = half(IDS, MASK, labels=LABELS)
        expected = model(IDS, MASK, labels=LABELS)
    assert output.logits.dtype == dtype
    assert (output.logits.float() - expected.logits).norm() <= bound * expected.logits.norm()
    assert half.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=5).shape[0] == 2


def test_autocast_runs_gbst_in_float32(tiny_model):
    model = tiny_model()
    with torch.no_grad():
        expected = model.encoder.embed_tokens(IDS, MASK)[0]
        with torch.autocast("cpu", torch.bfloat16):
            states = model.encoder.embed_tokens(IDS, MASK)[0]
    assert states.dtype == torch.float32
    assert (states - expected).norm() <= 0.02 * expected.norm()


def test_saved_model_loads_the_same(tiny_model, tmp_path):
    model = tiny_model(gbst_batchnorm=True)
    model.save_pretrained(tmp_path)
    loaded = GBSWT5ForConditionalGeneration.from_pretrained(tmp_path)
    state, expected = loaded.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_lora_trains_adapters_alone(tiny_model):
    from peft import LoraConfig, get_peft_model

    targets = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=targets)
    model = get_peft_model(tiny_model(), lora)
    model(input_ids=IDS, attention_mask=MASK, labels=LABELS).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
    generated = model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=4)
    assert generated.shape[0] == 2


def test_lora_in_gbst_is_the_same_merged_and_unmerged(tiny_model):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type="SEQ_2_SEQ_LM", r=2, target_modules=["proj", "q"], init_lora_weights=False
    )
    model = get_peft_model(tiny_model(), lora).eval()
    unmerged = model(input_ids=IDS, attention_mask=MASK, labels=LABELS).logits
    with model.disable_adapter():
        without = model(input_ids=IDS, attention_mask=MASK, labels=LABELS).logits
    assert (unmerged - without).abs().max() > 1e-2
    merged = model.merge_and_unload()
    close(merged(IDS, MASK, labels=LABELS).logits, unmerged, 1e-4)


# Other model classes


def test_auto_classes_give_ours(tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is GBSWT5Model
    assert type(AutoModelForSeq2SeqLM.from_pretrained(tmp_path)) is GBSWT5ForConditionalGeneration
    assert type(AutoModelForTextEncoding.from_pretrained(tmp_path)) is GBSWT5EncoderModel


def test_parts_give_the_states_of_the_whole(tiny_model, tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    expected = model(IDS, MASK, labels=LABELS, output_hidden_states=True)
    body = GBSWT5Model.from_pretrained(tmp_path).eval()
    decoder_ids = model.prepare_decoder_input_ids_from_labels(LABELS)
    close(body(IDS, MASK, decoder_ids).last_hidden_state, expected.decoder_hidden_states[-1])
    encoder = GBSWT5EncoderModel.from_pretrained(tmp_path).eval()
    close(encoder(IDS, MASK).last_hidden_state, expected.encoder_last_hidden_state)


def test_sentence_embeddings_pool_over_the_downsampled_mask(tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    encoder = GBSWT5EncoderModel.from_pretrained(tmp_path).eval()

    def embed(ids, mask):
        output, resized = encoder(ids, mask, return_resized_attention_mask=True)
        weights = resized[:, :, None].float()
        return (output[0] * weights).sum(1) / weights.sum(1)

    close(embed(IDS, MASK)[1:], embed(IDS[1:, :25], MASK[1:, :25]))


# Configuration


@pytest.mark.parametrize(
    ("given", "blocks"),
    [
        ({"subword_blocks": [1, 2, 4]}, ((1, 0), (2, 0), (4, 0))),
        ({"subword_blocks": [[2, 1], [5, 0]]}, ((2, 1), (5, 0))),
        ({"max_subword_block_size": 3}, ((1, 0), (2, 0), (3, 0))),
        ({"subword_blocks": None, "max_subword_block_size": 2}, ((1, 0), (2, 0))),
        ({"subword_blocks": [1, 3], "max_subword_block_size": 3}, ((1, 0), (3, 0))),
        ({}, ((1, 0), (2, 0), (3, 0), (4, 0), (6, 0), (9, 0))),
    ],
)
def test_blocks_are_read_as_published(given, blocks, tmp_path):
    config = GBSWT5Config(**given)
    assert config.blocks == blocks
    config.save_pretrained(tmp_path)
    assert GBSWT5Config.from_pretrained(tmp_path).blocks == blocks


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subword_blocks": [[2, 2]]}, "size 2 with offset 2"),
        ({"subword_blocks": [-1]}, "size -1"),
        ({"subword_blocks": []}, "no block"),
        ({"subword_blocks": [1, 2.5]}, "not a size and offset"),
        ({"subword_blocks": [["a", 0]]}, "not a size and offset"),
        ({"max_subword_block_size": 0}, "no block"),
        ({"tie_word_embeddings": "false"}, "neither true nor false"),
        ({"subword_blocks": [1, 3], "max_subword_block_size": 4}, "contradicts"),
        ({"subword_blocks": [1, 3], "downsample_factor": 4}, "downsample_factor 4"),
    ],
)
def test_contradictory_blocks_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        GBSWT5Config(**given)


@pytest.mark.parametrize(
    "override",
    [
        {"downsample_factor": 12}, {"downsample_factor": 0}, {"subword_blocks": []},
        {"subword_blocks": [2, [4, 9]]}, {"max_subword_block_size": 4},
    ],
)  # fmt: skip
def test_an_override_that_could_not_be_saved_is_refused(tiny_model, tmp_path, override):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="|".join(override)):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path, **override)


def test_a_head_tied_after_the_configuration_was_made_is_scaled(tiny_model, tmp_path):
    config = tiny_model(tie_word_embeddings=False).config
    config.tie_word_embeddings = True
    model = GBSWT5ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    again = GBSWT5ForConditionalGeneration.from_pretrained(tmp_path)
    close(again(IDS, MASK, labels=LABELS).loss, model(IDS, MASK, labels=LABELS).loss)
