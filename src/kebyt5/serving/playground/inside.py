"""Drawing what happens inside a model as HTML: GBST's block weights, and cross-attention."""

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from kebyt5 import inspection
from kebyt5.inspection import Blocks, Unit
from kebyt5.models.tokenization_kebyt5 import LAST_BYTE, OFFSET
from kebyt5.serving.playground.asking import MAX_SEEN_INPUT, MAX_SEEN_OUTPUT, Look
from kebyt5.serving.playground.drawing import note
from kebyt5.serving.playground.wording import Language, message

BYTES_PER_LINE, MAX_DRAWN = 60, 600

_SYMBOLS = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


class Stage(NamedTuple):
    """Block weights before or after consensus, and the segmentation they imply."""

    name: str
    weights: np.ndarray  # (L, M)
    segments: list[inspection.Segment]


def draw_blocks(look: Look, language: Language) -> str:
    """Draws a heat map of the block weights at every byte, with characters and segments.

    It contains the weights before and after consensus; radio buttons switch between them.
    """
    choice = look.choice
    if choice is None:
        return note(message("no gbst", language))
    stages = [
        Stage(name, weights, inspection.segment(weights, choice.blocks))
        for name, weights in (("before", choice.before), ("after", choice.after))
    ]
    length = len(look.input_ids)
    found = inspection.units(look.input_ids)
    lines = "".join(
        _line(choice.blocks, stages, look, units, language)
        for units in lines_of(found, BYTES_PER_LINE, MAX_DRAWN)
    )
    sizes = {"length": length, "count": -(-length // look.factor), "factor": look.factor}
    about = f"{message('about blocks', language)} {message('positions', language, **sizes)}"
    switch = "".join(
        f'<label><input type="radio" name="weights" value="{stage.name}"'
        f"{' checked' if stage.name == 'before' else ''}>"
        f"<span>{message(stage.name, language)}</span></label>"
        for stage in stages
    )
    legends = "".join(_legend(choice.blocks, stage, language) for stage in stages)
    cut = note(message("beginning", language, count=MAX_DRAWN)) if length > MAX_DRAWN else ""
    meaning = "".join(_about_segments(stage, language) for stage in stages)
    return (
        f'<div class="gbst" lang="{language}">{note(about)}'
        f'<div class="switch" role="radiogroup">{switch}</div>{legends}'
        f'<div class="map" style="--columns:{BYTES_PER_LINE}">{lines}</div>{cut}{meaning}</div>'
    )


def lines_of(found: Sequence[Unit], most: int, limit: int) -> list[list[Unit]]:
    """Divides units into lines of at most `most` bytes, without cutting a unit.

    Args:
        found: Units without gaps.
        most: Largest number of bytes in a line; at least as many as in any unit.
        limit: Number of bytes to show; units that end beyond it are left out.
    """
    lines: list[list[Unit]] = []
    for unit in found:
        if unit.end > limit:
            break
        if not lines or unit.end - lines[-1][0].start > most:
            lines.append([])
        lines[-1].append(unit)
    return lines


def _line(
    blocks: Blocks,
    stages: Sequence[Stage],
    look: Look,
    units: Sequence[Unit],
    language: Language,
) -> str:
    start, end = units[0].start, units[-1].end
    ids, factor = look.input_ids, look.factor
    characters = "".join(
        f'<b style="{_columns(unit.start - start, unit.end - start)}"'
        f' title="{escape(unit.text)}">{_shown(unit)}</b>'
        for unit in units
    )
    # Encoder positions alternate in shade.
    numbers = "".join(
        f"<tt{' class=even' if place // factor % 2 == 0 else ''}>"
        + (f"{ids[place] - OFFSET:02X}" if OFFSET <= ids[place] <= LAST_BYTE else "·")
        + "</tt>"
        for place in range(start, end)
    )
    rows = "".join(
        f'<span class="of">{_size(blocks[number], language)}</span>'
        + "".join(_cell(blocks, stages, number, place) for place in range(start, end))
        for number in range(len(blocks))
    )
    bands = "".join(
        f'<div class="band {stage.name}"><span class="of">{message("segments", language)}</span>'
        f"{_segments(blocks, stage, start, end)}</div>"
        for stage in stages
    )
    return (
        f'<div class="line"><div class="chars">{characters}</div>'
        f'<div class="bytes"><span class="of">{message("bytes", language)}</span>{numbers}</div>'
        f'<div class="cells">{rows}</div>{bands}</div>'
    )


def _columns(start: int, end: int) -> str:
    """Returns the style that places an element in a line's grid, whose first column holds names."""
    return f"grid-column:{start + 2}/{end + 2}"


def _cell(blocks: Blocks, stages: Sequence[Stage], number: int, place: int) -> str:
    size, offset = blocks[number]
    begins = ' class="begin"' if (place + size - offset) % size == 0 else ""
    weights = [float(stage.weights[place, number]) for stage in stages]
    shades = ";".join(
        f"--{stage.name}:{weight / stage.weights.max():.3f}"
        for stage, weight in zip(stages, weights, strict=True)
    )
    title = " → ".join(f"{weight:.3f}" for weight in weights)
    return f'<i{begins} style="{shades}" title="{title}"></i>'


def _segments(blocks: Blocks, stage: Stage, start: int, end: int) -> str:
    parts = []
    for each in stage.segments:
        if each.end > start and each.start < end:
            columns = _columns(max(each.start, start) - start, min(each.end, end) - start)
            tone = each.block / max(1, len(blocks) - 1)
            parts.append(
                f'<s style="{columns};--tone:{tone:.2f}" data-bytes="{each.start}-{each.end}">'
                f"{blocks[each.block][0]}</s>"
            )
    return "".join(parts)


def _legend(blocks: Blocks, stage: Stage, language: Language) -> str:
    """Draws the colour scale and the mean weight of each block."""
    means = stage.weights.mean(axis=0)
    each = "".join(
        f'<span class="mean"><i style="--w:{mean / means.max():.3f}"></i>'
        f"{_size(block, language)} <b>{mean:.0%}</b></span>"
        for block, mean in zip(blocks, means, strict=True)
    )
    return (
        f'<div class="legend {stage.name}"><span class="scale">{message("scale", language)} 0'
        f'<i class="ramp"></i>{stage.weights.max():.2f}</span>'
        f'<span class="means">{message("mean", language)} {each}</span></div>'
    )


def _about_segments(stage: Stage, language: Language) -> str:
    text = message(
        "about segments",
        language,
        agreement=inspection.agreement(stage.weights, stage.segments),
        chance=1 / stage.weights.shape[1],
        most=float(stage.weights.max(axis=1).mean()),
    )
    return f'<div class="{stage.name}">{note(text)}</div>'


def _size(block: tuple[int, int], language: Language) -> str:
    size, offset = block
    name = message("one byte", language) if size == 1 else message("block", language, size=size)
    return f"{name}+{offset}" if offset else name


def draw_attention(look: Look, language: Language) -> str:
    """Draws the characters of output and input; the page's script shades the input.

    The weights of an output character are uint8, one per input character, scaled so that the
    largest is 255.
    """
    peaks = look.attention.max(axis=1, keepdims=True)
    shades = np.round(look.attention / np.maximum(peaks, 1e-9) * 255).astype(np.uint8)
    chosen = len(look.output) // 2
    output = "".join(
        f'<button type="button" aria-pressed="{str(i == chosen).lower()}"'
        f' data-weights="{base64.b64encode(row.tobytes()).decode()}"'
        f' data-peak="{peak:.3f}">{_shown(unit)}</button>'
        for i, (unit, row, peak) in enumerate(zip(look.output, shades, peaks[:, 0], strict=True))
    )
    shown = [
        f'<i style="--w:{shade / 255:.3f}">{_shown(unit)}</i>'
        for unit, shade in zip(look.seen, shades[chosen], strict=True)
    ]
    cut = ""
    if look.is_cut:
        limits = {"output": MAX_SEEN_OUTPUT, "input": MAX_SEEN_INPUT}
        cut = note(message("too long to attend", language, **limits))
    return (
        f'<div class="attention" lang="{language}">{note(message("about attention", language))}'
        f'<h4>{message("output", language)}</h4><div class="output" lang="ko">{output}</div>'
        f'<h4>{message("input", language)} <small class="peak">{message("scale", language)} 0'
        f'<i class="ramp"></i><span>{float(peaks.max()):.3f}</span></small></h4>'
        f'<div class="input" lang="ko">{_paragraphs(look.seen, shown)}</div>{cut}</div>'
    )


def _paragraphs(found: Sequence[Unit], shown: Sequence[str]) -> str:
    """Joins the characters, with a line break after each line feed."""
    return "".join(
        text + ("<br>" if unit.text == "\n" else "")
        for unit, text in zip(found, shown, strict=True)
    )


def _shown(unit: Unit) -> str:
    text = "■" if unit.text == "</s>" else symbol(unit.text)
    return escape(text)


def symbol(text: str) -> str:
    """Returns a visible form of a character: a symbol for a blank or control character."""
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    if len(text) == 1 and ord(text) < 32:
        return chr(0x2400 + ord(text))
    return text if text.strip() else "␣"
