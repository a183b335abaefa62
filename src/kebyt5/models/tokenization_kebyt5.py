"""The byte tokenizer of KEByT5: the ids of `ByT5Tokenizer`, by numpy instead of Python loops.

A text is its UTF-8 bytes, and id = byte + 3. Of the 384 ids, 0 is `<pad>`, 1 `</s>`, 2 `<unk>`
(never produced), 3-258 are the bytes and 259-383 the extra ids. There are two conventions for
marking blanks in a text; methods that read or write blanks take one by name:

- `"huggingface"`: the string `<extra_id_i>` is id 259 + i. This is what `ByT5Tokenizer` does.
- `"pretraining"`: the string `<extra_id_i>` is id 258 - i, as ByT5 and KEByT5 were pretrained. They
  are the ids of the bytes 0xFF, 0xFE, ...; only the first 11 of these bytes never occur in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from transformers import BatchEncoding, ByT5Tokenizer
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy

from .id_arrays import narrow, pad_rows, raise_mmap_threshold
from .offsets import byte_to_char, char_to_byte, replace_surrogates, truncate

Sentinels = Literal["huggingface", "pretraining"]

VOCABULARY, PAD, EOS = 384, 0, 1
OFFSET = 3  # id = byte + OFFSET
LAST_BYTE = OFFSET + 255  # of 0xFF, which is also the first sentinel of pretraining
LAST_SENTINEL = 248  # of pretraining; the ids below are bytes of UTF-8
# Ids below 256 as bytes. Ids that are not text wrap to bytes that never occur in UTF-8 and can be
# replaced by names: pad, eos and unk are 0xFD-0xFF, the sentinels 0xF5-0xFC.
_ID_TO_BYTE = bytes((i - OFFSET) % 256 for i in range(256))
_OUTSIDE_UTF8 = (0, 1, 2, *range(LAST_SENTINEL, 256))
_EXTRA_ID = re.compile(rb"<extra_id_(\d+)>")

_CUTS_FIRST_TEXT = (TruncationStrategy.LONGEST_FIRST, TruncationStrategy.ONLY_FIRST)
_UNCOMMON_OPTIONS = (  # left to Transformers
    "is_split_into_words",
    "return_length",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_token_type_ids",
    "sanitize_control_tokens",
)
_IGNORED_OPTIONS = {
    "clean_up_tokenization_spaces",
    "spaces_between_special_tokens",
    "use_source_tokenizer",
}

raise_mmap_threshold()


class ByteTokenizer(ByT5Tokenizer):
    """A fast `ByT5Tokenizer` with both sentinel conventions and offsets that decodes any ids.

    Encoding gives the ids of `ByT5Tokenizer` on any text. Decoding gives its text wherever the ids
    are valid UTF-8; elsewhere, bytes that are not UTF-8 become U+FFFD instead of vanishing, and ids
    without a token (negative ones such as the label padding -100, and ids beyond the vocabulary)
    are dropped instead of raising. Blanks are never "cleaned up".

    Args:
        errors: How lone surrogates, which UTF-8 cannot express, are handled: `"replace"` encodes
            each as U+FFFD, `"strict"` raises UnicodeEncodeError. Saved with the tokenizer.
        **kwargs: Arguments of `ByT5Tokenizer`.

    Raises:
        ValueError: `errors` is neither of the two.

    Example:
        >>> tokenizer = ByteTokenizer()
        >>> tokenizer("한")["input_ids"]
        [240, 152, 159, 1]
        >>> tokenizer.decode([240, 152, 159, 258, 1], sentinels="pretraining")
        '한<extra_id_0></s>'
    """

    NUM_PRETRAINING_SENTINELS = LAST_BYTE - LAST_SENTINEL + 1

    def __init__(self, *, errors: Literal["replace", "strict"] = "replace", **kwargs: Any) -> None:
        if errors not in ("replace", "strict"):
            raise ValueError(f"errors must be 'replace' or 'strict', not {errors!r}")
        self.errors = errors
        super().__init__(errors=errors, **kwargs)

    @staticmethod
    def pretraining_sentinel_id(index: int) -> int:
        """The id, 258 - index, that marks blank `index` in pretraining: 258, 257, ..., 248.

        Raises:
            ValueError: `index` is not in 0..10; the next id would be a byte of real text.
        """
        if not 0 <= index < ByteTokenizer.NUM_PRETRAINING_SENTINELS:
            raise ValueError(
                f"there is no pretraining sentinel {index}: only 0 to 10 (ids 258 to 248) never "
                "collide with text, the ids below them are bytes of UTF-8; use at most 11 blanks"
            )
        return LAST_BYTE - index

    char_to_byte = staticmethod(char_to_byte)
    byte_to_char = staticmethod(byte_to_char)
    truncate = staticmethod(truncate)

    def encode_array(
        self, text: str, add_eos: bool = True, sentinels: Sentinels = "huggingface"
    ) -> np.ndarray:
        """The ids of one text, without the overhead of a `BatchEncoding`.

        Args:
            text: Any string; `</s>`, `<extra_id_0>` and the like inside it are tokens.
            add_eos: Whether to end with `</s>`, unless the text does so itself.
            sentinels: Convention for `<extra_id_i>`; `encode` and calling the tokenizer take the
                same argument.

        Returns:
            int64, (ids,).

        Raises:
            ValueError: The convention is unknown, or is `"pretraining"` and the text contains
                `<extra_id_11>` or above.
            UnicodeEncodeError: The text contains a lone surrogate, and `errors` is `"strict"`.
        """
        return self._encode_flat([text], add_eos, sentinels=sentinels)[0]

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        sentinels: Sentinels = "huggingface",
        **kwargs: Any,
    ) -> Any:
        """The text of a sequence of ids, or the texts of a batch; `batch_decode` takes the same.

        Args:
            token_ids: an id; a list, tuple, array or tensor of ids; or a batch of such.
            skip_special_tokens: leave out `<pad>`, `</s>`, `<unk>` and the extra ids from 259 on.
            sentinels: `"huggingface"` renders id 259 + i as `<extra_id_i>`, while 248-258 are bytes
                that are not UTF-8. `"pretraining"` renders id 258 - i as `<extra_id_i>`, also when
                special tokens are skipped, and drops the extra ids from 259 on.
            **kwargs: options of Transformers that would alter the text, which are ignored.

        Returns:
            str, or list of str for a batch. No id raises, see the class.

        Raises:
            ValueError: an unknown convention.
            TypeError: an unknown option.
        """
        if unknown := kwargs.keys() - _IGNORED_OPTIONS:
            raise TypeError(f"decode() got an unexpected keyword argument {min(unknown)!r}")
        _check_convention(sentinels)
        names = dict(self._added_names)
        if skip_special_tokens:
            names.update(dict.fromkeys(self.all_special_ids, b""))
        if sentinels == "pretraining":
            names = {i: b"" if _EXTRA_ID.fullmatch(name) else name for i, name in names.items()}
            for i in range(self.NUM_PRETRAINING_SENTINELS):
                names[self.pretraining_sentinel_id(i)] = b"<extra_id_%d>" % i
        marks = [(_ID_TO_BYTE[i : i + 1], names[i]) for i in _OUTSIDE_UTF8 if i in names]
        return self._decode_nested(token_ids, names, marks)

    def _decode_nested(
        self, token_ids: Any, names: Mapping[int, bytes], marks: Sequence[tuple[bytes, bytes]]
    ) -> Any:
        first = token_ids[0] if isinstance(token_ids, (list, tuple)) and token_ids else None
        if isinstance(first, (list, tuple)) or getattr(first, "ndim", 0) > 0:
            return [self._decode_nested(row, names, marks) for row in token_ids]
        if isinstance(token_ids, (list, tuple)):
            try:
                raw: bytes | bytearray = bytearray(token_ids)  # far faster than np.array(token_ids)
            except (TypeError, ValueError):
                in_range = [i if 0 <= i < 2**31 else -1 for i in token_ids]
                return _decode_with_names(np.array(in_range, np.int64), names)
        else:
            ids = narrow(token_ids.cpu() if hasattr(token_ids, "cpu") else token_ids)
            if ids.ndim > 1:
                return [self._decode_nested(row, names, marks) for row in ids]
            if ids.dtype != np.uint8:
                return _decode_with_names(ids, names)
            raw = ids.tobytes()
        if self._added_are_bytes:
            return _decode_with_names(np.frombuffer(raw, np.uint8), names)
        raw = raw.translate(_ID_TO_BYTE)
        for byte, name in marks:
            raw = raw.replace(byte, name)
        return raw.decode(errors="replace")

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens, as `decode` gives it for their ids."""
        added = self._added_tokens_encoder
        parts = (t.encode() if t in added else t.encode("latin-1") for t in tokens)
        return b"".join(parts).decode(errors="replace")

    def _encode_flat(
        self,
        texts: Sequence[str],
        add_eos: bool,
        max_length: int | None = None,
        sentinels: Sentinels = "huggingface",
        split_special_tokens: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The concatenated ids of all texts, (ids,), and the number of each, (texts,)."""
        _check_convention(sentinels)
        if split_special_tokens is None:
            split_special_tokens = self.split_special_tokens
        if split_special_tokens or not any(map(self._added_pattern.search, texts)):
            # One numpy call for all texts: several for each would dominate with many short ones.
            end = b"\0" if add_eos else b""
            raw = [self._cut(self._utf8(text), add_eos, max_length) + end for text in texts]
            lengths = np.fromiter(map(len, raw), np.int64, len(raw))
            ids = _bytes_to_ids(raw)
            if add_eos:
                ids[np.cumsum(lengths) - 1] = self.eos_token_id
            return ids, lengths

        rows = [
            self._cut(self._encode_with_added_tokens(text, sentinels), add_eos, max_length)
            for text in texts
        ]
        if add_eos:
            eos = self.eos_token_id
            rows = [row if row[-1:].tolist() == [eos] else np.append(row, eos) for row in rows]
        return np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows))

    def _encode_with_added_tokens(self, text: str, sentinels: Sentinels) -> np.ndarray:
        added = self._added_tokens_encoder

        def added_id(token: str) -> int:
            if sentinels == "pretraining" and (match := _EXTRA_ID.fullmatch(token.encode())):
                return self.pretraining_sentinel_id(int(match[1]))
            return added[token]

        if not self._added_are_bracketed:
            ids = [added_id(t) if t in added else ord(t) + OFFSET for t in self.tokenize(text)]
            return np.array(ids, np.int64)

        text = self._utf8(text).decode()  # replaces or refuses surrogates
        pieces = self._added_pattern.split(text)  # text, token, text, ..., token, text
        found = [i for i in range(1, len(pieces), 2) if pieces[i] in added]
        added_ids = []
        for i in found:
            token = self._added_tokens_decoder[added[pieces[i]]]
            if token.lstrip:
                pieces[i - 1] = pieces[i - 1].rstrip()
            if token.rstrip:
                pieces[i + 1] = pieces[i + 1].lstrip()
            added_ids.append(added_id(pieces[i]))
            pieces[i] = ""
        raw = [piece.encode() for piece in pieces]
        ends = np.cumsum([len(piece) for piece in raw])
        return np.insert(_bytes_to_ids(raw), ends[found], added_ids)

    def _cut(self, row: Any, add_eos: bool, max_length: int | None) -> Any:
        excess = 0 if max_length is None else len(row) + add_eos - max_length
        if excess <= 0:
            return row
        return row[excess:] if self.truncation_side == "left" else row[:-excess]

    def _utf8(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            if self.errors == "replace":
                return replace_surrogates(text).encode()
            reason = "a lone surrogate is not text (errors='replace' would encode it as U+FFFD)"
            raise UnicodeEncodeError("utf-8", text, error.start, error.end, reason) from None

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [chr(byte) for byte in self._utf8(text)]

    def _update_trie(self, unique_no_split_tokens: list[str] | None = None) -> None:
        # Transformers calls this whenever tokens have been added.
        super()._update_trie(unique_no_split_tokens)
        added = self._added_tokens_decoder
        # One alternative matches all numbers, ten times as fast as 125 alternatives. Matches that
        # are not in the vocabulary, such as <extra_id_999>, are treated as text.
        forms = {re.sub(r"\d+", r"\\d+", re.escape(name)) for name in self.tokens_trie._tokens}
        self._added_pattern = re.compile(f"({'|'.join(sorted(forms))})")
        # Such tokens cannot overlap, so the pattern finds what the trie would.
        self._added_are_bracketed = all(
            re.fullmatch(r"<[^<>]+>", token.content) and not token.single_word
            for token in added.values()
        )
        self._added_are_bytes = any(OFFSET <= i <= LAST_BYTE for i in added)
        self._added_names = {i: token.content.encode() for i, token in added.items()}

    def _encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        get = options.get
        if get("return_offsets_mapping"):  # Transformers would leave it out without a word
            raise NotImplementedError(
                "there is no offset_mapping, as id i is byte i of the text: use "
                "tokenizer.byte_to_char(text), the character of each byte"
            )
        is_batch = isinstance(text, (list, tuple))
        texts = text if is_batch else [text]
        add_eos = get("add_special_tokens", True)
        cuts = get("truncation_strategy") in _CUTS_FIRST_TEXT
        max_length = (get("max_length") or None) if cuts else None  # Transformers ignores a 0
        is_common = (
            text_pair is None
            and len(texts) > 0
            and all(isinstance(text, str) for text in texts)
            and (add_eos or all(texts))  # Transformers does not pad a sequence without ids
            and (max_length or get("padding_strategy") != PaddingStrategy.MAX_LENGTH)
            and get("padding_side") in (None, "left", "right")
            and not any(map(get, _UNCOMMON_OPTIONS))
            and self.model_input_names == ByT5Tokenizer.model_input_names
        )
        conventions = get("sentinels", "huggingface"), get("split_special_tokens")
        if is_common:
            flat, lengths = self._encode_flat(texts, add_eos, max_length, *conventions)
            data = self._pad_texts(flat, lengths, **options)
            if not (is_batch or get("return_tensors")):
                data = {name: rows[0] for name, rows in data.items()}
            return BatchEncoding(data, tensor_type=get("return_tensors"))

        def to_ids(text: Any) -> Any:
            is_words = get("is_split_into_words") and isinstance(text, (list, tuple))
            words = text if is_words else [text]
            if not all(isinstance(word, str) for word in words) or not any(words):
                return text
            return self._encode_flat(words, False, None, *conventions)[0].tolist()

        if not get("sanitize_control_tokens"):
            # Transformers takes ids as they are, and skips its loops over tokens.
            text, text_pair = to_ids(text), to_ids(text_pair)
        return super()._encode_plus(text, text_pair, **options)

    def _pad_texts(
        self,
        flat: np.ndarray,
        lengths: np.ndarray,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        verbose: bool = True,
        **_: Any,
    ) -> dict[str, Any]:
        """Pads as Transformers does: rows of one width, or lists of different lengths."""
        width = int(lengths.max())
        self._eventual_warn_about_too_long_sequence(flat[:width], max_length, verbose)
        pads = padding_strategy != PaddingStrategy.DO_NOT_PAD
        if padding_strategy == PaddingStrategy.MAX_LENGTH:
            width = max_length or width
        if pads and pad_to_multiple_of:
            width += -width % pad_to_multiple_of

        ids: Any
        mask: Any
        if not pads and (return_tensors is None or lengths.min() < width):
            every, ends = flat.tolist(), np.cumsum(lengths).tolist()
            ids = [every[start:end] for start, end in pairwise([0, *ends])]
            mask = [[1] * len(row) for row in ids]
        else:
            is_left = (padding_side or self.padding_side) == "left"
            ids, mask = pad_rows(flat, lengths, width, self.pad_token_id, is_left)
            if return_tensors is None:
                ids, mask = ids.tolist(), mask.tolist()
            elif return_tensors == "pt":
                ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
        data = {"input_ids": ids, "attention_mask": mask}
        if return_attention_mask is False:
            del data["attention_mask"]
        return data


def _check_convention(sentinels: str) -> None:
    if sentinels not in ("huggingface", "pretraining"):
        raise ValueError(f"sentinels must be 'huggingface' or 'pretraining', not {sentinels!r}")


def _bytes_to_ids(pieces: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(pieces), np.uint8) + np.int64(OFFSET)


def _decode_with_names(ids: np.ndarray, names: Mapping[int, bytes]) -> str:
    kept = [i for i in (*range(LAST_BYTE + 1), *names) if names.get(i) != b""]
    ids = np.atleast_1d(ids)[np.isin(ids, kept).reshape(-1)]
    raw = (ids - OFFSET).astype(np.uint8).tobytes()
    parts, start = [], 0
    for i in np.flatnonzero(np.isin(ids, list(names))).tolist():
        parts += [raw[start:i], names[int(ids[i])]]
        start = i + 1
    return b"".join([*parts, raw[start:]]).decode(errors="replace")
