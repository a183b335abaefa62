"""The heat map and the attention show the right numbers."""

import base64
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.inspection import agreement, segment, units
from kebyt5.serving.playground.asking import Look, look
from kebyt5.serving.playground.inside import (
    BYTES_PER_LINE,
    MAX_DRAWN,
    draw_attention,
    draw_blocks,
    lines_of,
    symbol,
)
from kebyt5.serving.playground.wording import LANGUAGES

TEXT = "김하늘 <b>&\n씨는 서울에 산다. 그리고 <extra_id_0> 🙂"


@pytest.fixture
def seen(tiny_model):
    return look(tiny_model(), TEXT, "<김하늘:PS> 씨\n는")


@given(st.text(max_size=80), st.integers(6, 30), st.integers(0, 200))
def test_lines_have_all_units_up_to_the_limit_in_order(text, most, limit):
    from kebyt5 import ByteTokenizer

    found = units(ByteTokenizer().encode_array(text).tolist())
    lines = lines_of(found, most, limit)
    assert [unit for line in lines for unit in line] == [u for u in found if u.end <= limit]
    for line in lines:
        assert line
        assert line[-1].end - line[0].start <= most
    for line, following in pairwise(lines):
        assert following[0].end - line[0].start > most


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_byte_has_a_cell_for_each_block_with_its_weight(seen, language, read_html):
    page = read_html(draw_blocks(seen, language))
    length, count = seen.choice.after.shape
    cells = [a for a, _ in page.find("i") if "--before" in a.get("style", "")]
    assert len(cells) == length * count

    # Cells stand line by line, in a line block by block.
    order = []
    for line in lines_of(units(seen.input_ids), BYTES_PER_LINE, MAX_DRAWN):
        places = range(line[0].start, line[-1].end)
        order += [(place, number) for number in range(count) for place in places]
    for stage, weights in (("before", seen.choice.before), ("after", seen.choice.after)):
        shades = [float(re.search(rf"--{stage}:([\d.]+)", a["style"])[1]) for a in cells]
        expected = [weights[place, number] / weights.max() for place, number in order]
        np.testing.assert_allclose(shades, expected, atol=6e-4)
    assert [text for _, text in page.find("tt")] == [
        f"{i - 3:02X}" if 3 <= i < 259 else "·" for i in seen.input_ids
    ]
    assert [a["title"] for a, _ in page.find("b") if "title" in a] == [
        unit.text for unit in units(seen.input_ids)
    ]


def test_segments_and_their_agreement_are_those_of_the_library(seen, read_html):
    page = read_html(draw_blocks(seen, "en"))
    for stage, weights in (("before", seen.choice.before), ("after", seen.choice.after)):
        found = segment(weights, seen.choice.blocks)
        html = "".join(re.findall(rf'<div class="band {stage}">.*?</div>', draw_blocks(seen, "en")))
        drawn = re.findall(r'data-bytes="(\d+)-(\d+)">(\d+)<', html)
        wanted = [(each.start, each.end, seen.choice.blocks[each.block][0]) for each in found]
        # A segment across a line's end stands in both lines.
        assert sorted({tuple(map(int, triple)) for triple in drawn}) == wanted
        assert f"{agreement(weights, found):.0%} of their weight" in page.text


def test_a_long_text_is_drawn_in_part_and_says_so(tiny_model, read_html):
    seen = look(tiny_model(), "가나다라 " * 100, "가")
    page = read_html(draw_blocks(seen, "ko"))
    drawn = len(page.find("tt"))
    assert MAX_DRAWN - 4 < drawn <= MAX_DRAWN
    assert f"처음 {MAX_DRAWN}바이트만" in page.text
    assert f"{len(seen.input_ids)}바이트를" in page.text


def test_a_model_without_gbst_says_so(seen, read_html):
    plain = Look(seen.input_ids, None, 1, seen.output, seen.seen, seen.attention, False)
    page = read_html(draw_blocks(plain, "en"))
    assert "no GBST" in page.text
    assert not page.find("i")


def test_attention_carries_its_weights(seen, read_html):
    page = read_html(draw_attention(seen, "en"))
    buttons = page.find("button")
    assert len(buttons) == len(seen.output)
    for (attributes, _), row in zip(buttons, seen.attention, strict=True):
        shades = np.frombuffer(base64.b64decode(attributes["data-weights"]), np.uint8)
        np.testing.assert_allclose(shades / 255 * row.max(), row, atol=row.max() / 500)
        assert float(attributes["data-peak"]) == pytest.approx(row.max(), abs=6e-4)
    pressed = [a["aria-pressed"] == "true" for a, _ in buttons]
    assert pressed.index(True) == len(seen.output) // 2
    assert sum(pressed) == 1
    shown = [text for a, text in page.find("i") if "--w" in a.get("style", "")]
    assert len(shown) == len(seen.seen)
    assert "".join(shown[:9]) == "김하늘␣<b>&⏎"


def test_attention_that_is_cut_says_so(seen, read_html):
    cut = Look(seen.input_ids, None, 1, seen.output, seen.seen, seen.attention, True)
    assert "Only the first" in read_html(draw_attention(cut, "en")).text


@given(st.characters(exclude_categories=["Cs"]))
def test_every_character_can_be_seen(character):
    assert symbol(character).strip()
