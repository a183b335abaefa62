"""ByteTokenizer: the ids of ByT5Tokenizer on any text, and what it adds to it."""

import copy
import json
import pickle
import unicodedata
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken, AutoTokenizer, ByT5Tokenizer, dynamic_module_utils

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

REFERENCE = ByT5Tokenizer()
TOKENIZER = ByteTokenizer()

PIECES = [
    *("</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_5>", "<extra_id_12>", "<extra_id_124>"),
    *("<extra_id_125>", "<extra_id_٣>", "<extra_id_", "<", ">", "/s>", "<서울:LOC>", "<ent>"),
    *(
        " ",
        "  ",
        "\n",
        "\u3000",
        "\u200b",
        "한글",
        "가나다",
        "\u1112\u1161\u11ab",
        "e\u0301",
        "abc",
    ),
    *("😀", "👨‍👩‍👧", "\x00", "\x85", "\xff", "\ufffd", "0"),
]
assembled = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
any_text = st.one_of(st.text(), assembled, st.lists(st.one_of(st.text(), assembled)).map("".join))
plain_text = st.text().filter(lambda text: "<" not in text)
batches = st.lists(any_text, min_size=1, max_size=4)
lengths = st.one_of(st.none(), st.integers(1, 40))
tensor_types = st.sampled_from([None, "np", "pt"])
thoroughly = settings(deadline=None, max_examples=150)


def as_lists(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return [as_lists(item) for item in value] if isinstance(value, list) else value


def outcome(tokenizer, *args, **kwargs):
    """Everything a call gives, in a form that can be compared: keys, types, shapes, values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ByT5Tokenizer warns of an eos that is already there
        try:
            encoding = tokenizer(*args, **kwargs)
        except ValueError as error:
            return str(error)[:40]
    return [
        (key, type(value), getattr(value, "dtype", None), as_lists(value))
        for key, value in encoding.items()
    ]


@given(any_text, st.booleans())
@thoroughly
def test_ids_are_those_of_byt5_on_any_text(text, add_eos):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = REFERENCE.encode(text, add_special_tokens=add_eos)
    assert TOKENIZER.encode(text, add_special_tokens=add_eos) == expected
    array = TOKENIZER.encode_array(text, add_eos=add_eos)
    assert array.dtype == np.int64
    assert array.tolist() == expected
    assert TOKENIZER.tokenize(text) == REFERENCE.tokenize(text)


@given(
    st.one_of(any_text, batches),
    st.fixed_dictionaries(
        {
            "add_special_tokens": st.booleans(),
            "padding": st.sampled_from([False, True, "max_length"]),
            "truncation": st.sampled_from([None, False, True, "only_first", "only_second"]),
            "max_length": st.one_of(lengths, st.just(0)),
            "return_tensors": tensor_types,
        },
        optional={
            "pad_to_multiple_of": st.sampled_from([2, 8]),
            "padding_side": st.sampled_from(["left", "right"]),
            "return_attention_mask": st.booleans(),
            "return_special_tokens_mask": st.booleans(),
            "return_token_type_ids": st.booleans(),
            "return_overflowing_tokens": st.booleans(),
            "return_length": st.booleans(),
            "split_special_tokens": st.booleans(),
        },
    ),
    st.sampled_from(["left", "right"]),
)
@settings(deadline=None, max_examples=500)
def test_every_option_means_what_it_means_to_byt5(texts, options, truncation_side):
    reference, tokenizer = copy.copy(REFERENCE), copy.copy(TOKENIZER)
    reference.truncation_side = tokenizer.truncation_side = truncation_side
    assert outcome(tokenizer, texts, **options) == outcome(reference, texts, **options)


@given(any_text, any_text, lengths, tensor_types)
@thoroughly
def test_pairs_targets_and_split_words_are_those_of_byt5(first, second, max_length, tensors):
    for args, options in [
        ((first, second), {"max_length": max_length, "truncation": max_length is not None}),
        (([first, second], [second, first]), {"padding": True, "return_tensors": tensors}),
        (([(first, second), (second, "")],), {"padding": True, "return_tensors": tensors}),
        ((first,), {"text_target": second, "return_tensors": tensors}),
        (([first, "ab"],), {"text_target": [second, ""], "padding": True}),
        (([first, second],), {"is_split_into_words": True, "return_tensors": tensors}),
        (([[first], [second, first]],), {"is_split_into_words": True}),
    ]:
        assert outcome(TOKENIZER, *args, **options) == outcome(REFERENCE, *args, **options)


ADDED_TOKENS = {
    "bracketed": ["<ent>", "</ent>"],
    "characters that are bytes": ["가", "é", "ÿ", "a b", "한글"],
    "overlapping": ["<e", "<ent>", "ent>"],
    "with flags": [
        AddedToken("<ent>", single_word=True),
        AddedToken("abc", lstrip=True, rstrip=True),
    ],
}


@pytest.fixture(scope="module", params=ADDED_TOKENS)
def extended(request):
    pair = ByT5Tokenizer(), ByteTokenizer()
    for tokenizer in pair:
        tokenizer.add_tokens(ADDED_TOKENS[request.param])
    return pair


@given(text=assembled)
@thoroughly
def test_tokens_added_later_are_found_as_byt5_finds_them(extended, text):
    reference, tokenizer = extended
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == reference(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == reference.decode(ids)
    assert tokenizer.batch_decode([np.array(ids, int)]) == [reference.decode(ids)]
    assert len(tokenizer) == len(reference)


@given(plain_text)
@thoroughly
def test_decoding_undoes_encoding_without_normalizing(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids) == f"{text}</s>"
    assert (
        TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True) == text
    )


def test_jamo_stay_jamo():
    jamo = unicodedata.normalize("NFD", "한글 . !")
    assert TOKENIZER.decode(TOKENIZER.encode_array(jamo, add_eos=False)) == jamo


@given(any_text, st.lists(st.integers(259, 383)), st.booleans())
@thoroughly
def test_valid_ids_decode_as_byt5_decodes_them_in_any_container(text, extra, skip):
    ids = [*TOKENIZER.encode(text), *extra, 0, 2]
    expected = REFERENCE.decode(ids, skip_special_tokens=skip)
    for container in (
        ids,
        tuple(ids),
        np.array(ids),
        torch.tensor(ids),
        [np.int64(i) for i in ids],
    ):
        assert TOKENIZER.decode(container, skip_special_tokens=skip) == expected
    for batch in ([ids, ids[:-2]], np.array([ids, ids]), torch.tensor([ids]), [torch.tensor(ids)]):
        expected = REFERENCE.batch_decode(batch, skip_special_tokens=skip)
        assert TOKENIZER.batch_decode(batch, skip_special_tokens=skip) == expected
    assert TOKENIZER.decode(ids[0]) == TOKENIZER.decode(ids[:1])
    assert TOKENIZER.convert_tokens_to_string(TOKENIZER.convert_ids_to_tokens(ids)) == (
        TOKENIZER.decode(ids)
    )


@given(
    st.lists(st.one_of(st.integers(-2, 400), st.integers())),
    st.booleans(),
    st.sampled_from(["huggingface", "pretraining"]),
)
@thoroughly
def test_decoding_any_ids_never_raises_and_drops_ids_without_a_token(ids, skip, sentinels):
    text = TOKENIZER.decode(ids, skip_special_tokens=skip, sentinels=sentinels)
    known = [i for i in ids if 0 <= i < 384]
    assert TOKENIZER.decode(known, skip_special_tokens=skip, sentinels=sentinels) == text
    assert TOKENIZER.decode(np.array(known), skip, sentinels) == text


@given(st.binary())
@thoroughly
def test_bytes_that_are_not_utf8_become_replacement_characters(raw):
    assert TOKENIZER.decode([byte + 3 for byte in raw]) == raw.decode("utf-8", errors="replace")


def test_label_padding_is_dropped():
    labels = torch.tensor([[240, 152, 159, 1, -100, -100], [240, 152, -100, 1000, 1, 0]])
    assert TOKENIZER.batch_decode(labels, skip_special_tokens=True) == ["한", "\ufffd"]
    assert TOKENIZER.batch_decode(labels) == ["한</s>", "\ufffd</s><pad>"]
    assert TOKENIZER.decode([]) == ""


def test_vocabulary_is_that_of_byt5():
    assert len(TOKENIZER) == 384
    assert TOKENIZER.get_vocab() == REFERENCE.get_vocab()
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id, TOKENIZER.unk_token_id) == (0, 1, 2)
    assert TOKENIZER.convert_tokens_to_ids("<extra_id_7>") == 259 + 7
    tokens = TOKENIZER.convert_ids_to_tokens(list(range(384)))
    assert tokens == REFERENCE.convert_ids_to_tokens(list(range(384)))
    assert TOKENIZER.convert_tokens_to_ids(tokens) == list(range(384))


def test_the_two_sentinel_conventions_are_told_apart_by_name():
    text = "가<extra_id_0>나<extra_id_10>"
    a, b = (
        TOKENIZER.encode_array("가", False).tolist(),
        TOKENIZER.encode_array("나", False).tolist(),
    )
    pretraining, huggingface = [*a, 258, *b, 248, 1], [*a, 259, *b, 269, 1]
    assert TOKENIZER(text)["input_ids"] == huggingface
    assert TOKENIZER(text, sentinels="pretraining")["input_ids"] == pretraining
    assert TOKENIZER(["", text], ["", ""], sentinels="pretraining")["input_ids"][1] == [
        *pretraining,
        1,
    ]
    assert TOKENIZER.encode_array(text, sentinels="pretraining").tolist() == pretraining

    assert TOKENIZER.decode(huggingface) == f"{text}</s>"
    assert TOKENIZER.decode(huggingface, sentinels="pretraining") == "가나</s>"
    assert TOKENIZER.decode(pretraining) == "가\ufffd나\ufffd</s>"
    for skip, end in ((False, "</s>"), (True, "")):
        options = {"skip_special_tokens": skip, "sentinels": "pretraining"}
        assert TOKENIZER.decode(pretraining, **options) == text + end
        assert TOKENIZER.decode(np.array(pretraining), **options) == text + end
        assert TOKENIZER.decode([*a, 250, 1], **options) == "가<extra_id_8>" + end
    with pytest.raises(ValueError, match="'huggingface' or 'pretraining'"):
        TOKENIZER.decode(pretraining, sentinels="t5")
    with pytest.raises(ValueError, match="'huggingface' or 'pretraining'"):
        TOKENIZER("가", sentinels="t5")


def test_pretraining_sentinels_that_collide_with_text_are_refused():
    assert [TOKENIZER.pretraining_sentinel_id(i) for i in range(11)] == list(range(258, 247, -1))
    for index in (-1, 11):
        with pytest.raises(ValueError, match="at most 11 blanks"):
            TOKENIZER.pretraining_sentinel_id(index)
    with pytest.raises(ValueError, match="collide with text"):
        TOKENIZER.encode_array("<extra_id_11>", sentinels="pretraining")


@given(st.text(st.characters(codec=None)))
@thoroughly
def test_offsets_map_bytes_to_characters_and_back(text):
    widths = [len(character.encode("utf-8", "surrogatepass")) for character in text]
    characters = [i for i, width in enumerate(widths) for _ in range(width)]
    assert TOKENIZER.byte_to_char(text).tolist() == [*characters, len(text)]
    assert TOKENIZER.char_to_byte(text).tolist() == [0, *np.cumsum(widths, dtype=int)]
    if "<" not in text:
        assert len(TOKENIZER.encode_array(text, add_eos=False)) == len(characters)


@pytest.mark.parametrize("text", ["가a", ["가", "a"]])
def test_an_offset_mapping_is_refused_in_favour_of_offsets(text):
    assert "offset_mapping" not in REFERENCE(text, return_offsets_mapping=True)
    with pytest.raises(NotImplementedError, match="byte_to_char"):
        TOKENIZER(text, return_offsets_mapping=True)


@given(st.text(st.characters(codec=None)), st.integers(0, 40))
@thoroughly
def test_truncation_keeps_the_most_whole_characters(text, limit):
    sizes = TOKENIZER.char_to_byte(text)
    prefix = TOKENIZER.truncate(text, limit)
    assert text.startswith(prefix)
    assert sizes[len(prefix)] <= limit
    assert prefix == text or sizes[len(prefix) + 1] > limit


def test_negative_truncation_is_refused():
    with pytest.raises(ValueError, match="negative"):
        TOKENIZER.truncate("가", -1)


@pytest.mark.parametrize("text", ["\ud83d", "가\ud83d\ude00</s>나", "\udfff<e"])
def test_lone_surrogates_are_replaced_or_refused(text, tmp_path):
    replaced = text.translate(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))
    assert TOKENIZER(text) == TOKENIZER(replaced)
    assert TOKENIZER.tokenize(text) == TOKENIZER.tokenize(replaced)

    ByteTokenizer(errors="strict").save_pretrained(tmp_path)
    strict = ByteTokenizer.from_pretrained(tmp_path)
    assert strict(replaced) == TOKENIZER(replaced)
    with pytest.raises(UnicodeEncodeError, match="lone surrogate is not text"):
        strict(text)


def test_unknown_error_policy_is_refused():
    with pytest.raises(ValueError, match="'replace' or 'strict'"):
        ByteTokenizer(errors="ignore")


@given(text=assembled)
@settings(deadline=None, max_examples=20)
def test_copies_and_saved_tokenizers_are_the_same(text, tmp_path_factory):
    tokenizer = ByteTokenizer(padding_side="left", model_max_length=1024)
    tokenizer.add_tokens(["<ent>"])
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "ByteTokenizer"
    loaded = ByteTokenizer.from_pretrained(folder)
    assert (loaded.padding_side, loaded.model_max_length) == ("left", 1024)
    for other in (loaded, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other([text, "a"], padding=True) == tokenizer([text, "a"], padding=True)
        assert other.get_vocab() == tokenizer.get_vocab()


@given(text=assembled)
@settings(deadline=None, max_examples=30)
def test_a_published_byt5_configuration_loads(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    tokens = {key: {"content": name, **flags} for key, name in special.items()}
    extra = {"additional_special_tokens": [f"<extra_id_{i}>" for i in range(125)]}
    config = {key: {"__type": "AddedToken", **token} for key, token in tokens.items()}
    config |= {
        "tokenizer_class": "ByT5Tokenizer",
        "extra_ids": 125,
        "name_or_path": "byt5",
        **extra,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens | extra), encoding="utf-8")

    tokenizer, reference = (cls.from_pretrained(folder) for cls in (ByteTokenizer, ByT5Tokenizer))
    assert type(tokenizer) is ByteTokenizer
    assert len(tokenizer) == 384
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert tokenizer(text, add_special_tokens=False) == reference(text, add_special_tokens=False)


def test_it_is_hub_remote_code_for_auto_tokenizer(tmp_path, monkeypatch):
    monkeypatch.setattr(ByteTokenizer, "_auto_class", None)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    ByteTokenizer.register_for_auto_class()
    ByteTokenizer().save_pretrained(tmp_path / "hub")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "hub", trust_remote_code=True)
    assert type(loaded).__name__ == "ByteTokenizer"
    assert loaded("한글")["input_ids"] == TOKENIZER("한글")["input_ids"]


def test_options_of_decoding_are_those_of_transformers_or_refused():
    ids = TOKENIZER("한글")["input_ids"]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": True}
    assert TOKENIZER.decode(ids, **options, spaces_between_special_tokens=False) == "한글"
    for decode, argument in ((TOKENIZER.decode, ids), (TOKENIZER.batch_decode, [ids])):
        with pytest.raises(TypeError, match="'skip_special_token'"):
            decode(argument, skip_special_token=True)
