"""Asking a model, and inspecting how it came to its answer."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from kebyt5 import inspection
from kebyt5.finetuning.config import finetuned_tasks
from kebyt5.generation.fill import MAX_BLANKS, Filling
from kebyt5.generation.request import encode_input
from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.tokenization_kebyt5 import Sentinels
from kebyt5.serving.problems import report
from kebyt5.serving.schemas import FillRequest
from kebyt5.serving.service import LocalService
from kebyt5.tasks import TASKS, Example, Parsed, Task, get_task

FILL = "fill"
"""The choice besides the registered tasks: filling blanks, for pretrained models."""

MAX_SEEN_INPUT, MAX_SEEN_OUTPUT = 3_072, 384
"""Bytes of input and output whose attention is computed and shown."""

_KEYS = {429: "busy", 500: "failed", 504: "late"}
"""Keys of the page's messages for problems, by their HTTP status; any other is "refused"."""

OPTIONAL = frozenset({"words"})
"""Fields that may be left blank."""

_BLANK = re.compile("_{2,}")


class Refusal(Exception):
    """The question cannot be asked.

    Attributes:
        key: Key of the message that says why, see `wording.message`.
        values: Values of the message's placeholders; `field` is the name of an input field, and
            `reason` what the server says.
    """

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True)
class Look:
    """How a model read an input and wrote an output.

    Attributes:
        input_ids: Ids of the input.
        choice: How GBST weighed its blocks; None without GBST.
        factor: Bytes per encoder position.
        output: Characters of the output.
        seen: Characters of the input for which attention is shown.
        attention: Attention of each character written, (output, seen), mean over layers and heads.
        is_cut: Whether the input or the output is longer than what is shown.
    """

    input_ids: list[int]
    choice: inspection.Choice | None
    factor: int
    output: list[inspection.Unit]
    seen: list[inspection.Unit]
    attention: np.ndarray
    is_cut: bool


@dataclass(frozen=True)
class Answer:
    """A model's answer.

    Attributes:
        task: The task; None for filling blanks.
        example: The example that was asked.
        text: The text that the model wrote.
        parsed: The text as the task reads it.
        windows: Number of windows in which the input was read.
        is_shortened: Whether the model read a part of the input only.
        log_likelihoods: Log-likelihoods of the task's labels, (labels,), if it has any.
        fillings: Ways to fill the blanks, the likeliest first.
        pieces: The text before, between and after the blanks.
        look: How the model came to the answer.
    """

    task: Task | None
    example: Example
    text: str
    parsed: Parsed
    look: Look
    windows: int = 1
    is_shortened: bool = False
    log_likelihoods: np.ndarray | None = None
    fillings: tuple[Filling, ...] = ()
    pieces: tuple[str, ...] = ()


def fields_of(task: str) -> tuple[str, ...]:
    """Returns the names of a task's input fields."""
    return ("blanks",) if task == FILL else TASKS[task].input_fields


def tasks_of(service: LocalService) -> tuple[tuple[str, ...], bool]:
    """Returns the tasks that a model may be asked, and whether it was fine-tuned for them.

    A model that does not say its tasks may be asked everything.
    """
    names = finetuned_tasks(service.model.name_or_path)
    known = tuple(name for name in TASKS if name in names)
    return (known, True) if known else ((FILL, *TASKS), False)


def ask(service: LocalService, task: str, fields: Mapping[str, str]) -> Answer:
    """Asks a model and waits for the answer; call it in a thread without an event loop.

    Args:
        service: The service of the model, which others may use at the same time.
        task: Name of a task, or `FILL`.
        fields: A text for each of the task's fields.

    Raises:
        Refusal: A field is empty, the service does not accept them or is busy, the answer takes too
            long, or something fails that the log tells.
    """
    fields = {field: _without_surrogates(fields.get(field) or "") for field in fields_of(task)}
    for field, text in fields.items():
        if not text.strip() and field not in OPTIONAL:
            raise Refusal("empty", field=field)
    answering = (
        _fill(service, fields["blanks"]) if task == FILL else _predict(service, task, fields)
    )
    try:
        return asyncio.run(answering)
    except Refusal:
        raise
    except Exception as error:
        problem = report(error)
        key = _KEYS.get(problem.status, "refused")
        raise Refusal(key, reason=problem.detail) from error


def look(
    model: PreTrainedModel, text: str, output: str, sentinels: Sentinels = "huggingface"
) -> Look:
    """Inspects how a model reads a text and writes an output.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        text: The input.
        output: The output.
        sentinels: The convention for `<extra_id_i>` in both.
    """
    input_ids = encode_input(text, sentinels).tolist()
    output_ids = encode_input(output, sentinels).tolist()
    has_gbst = isinstance(model.config, GBSWT5Config)
    written = inspection.units(output_ids[:MAX_SEEN_OUTPUT])
    found = inspection.mean_cross_attention(model, input_ids, output_ids[:MAX_SEEN_OUTPUT])
    factor = model.config.downsample_factor if has_gbst else 1
    on_bytes = inspection.spread_over_bytes(found, len(input_ids), factor)
    seen = inspection.units(input_ids[:MAX_SEEN_INPUT])
    on_characters = inspection.sum_over_units(on_bytes[:, : seen[-1].end], seen)
    sizes = np.array([unit.end - unit.start for unit in written])
    attention = np.add.reduceat(on_characters, [unit.start for unit in written], axis=0)
    return Look(
        input_ids,
        inspection.block_choice(model, input_ids) if has_gbst else None,
        factor,
        written,
        seen,
        (attention / sizes[:, None]).astype(np.float32),
        len(input_ids) > MAX_SEEN_INPUT or len(output_ids) > MAX_SEEN_OUTPUT,
    )


async def _predict(service: LocalService, name: str, fields: dict[str, str]) -> Answer:
    task = get_task(name)
    if "words" in fields:
        fields["words"] = _word_rows(fields["sentence"], fields["words"])
    example = task.example(**fields)
    (said,) = await service.predict(task, [example], bool(task.labels))
    likelihoods = said.log_likelihoods
    seeing = partial(look, text=said.inputs[0], output=said.text)
    return Answer(
        task,
        example,
        said.text,
        task.parse(said.text, example),
        await service.worker.call(seeing),
        windows=len(said.inputs),
        is_shortened=said.shortened and len(said.inputs) == 1,
        log_likelihoods=None if likelihoods is None else np.array(likelihoods),
    )


async def _fill(service: LocalService, text: str) -> Answer:
    pieces = tuple(_BLANK.split(text))
    if len(pieces) == 1:
        raise Refusal("no blank")
    if len(pieces) > MAX_BLANKS + 1:
        raise Refusal("many blanks", count=len(pieces) - 1, limit=MAX_BLANKS)
    blanks = range(len(pieces) - 1)
    marked = "".join(f"{piece}<extra_id_{i}>" for i, piece in zip(blanks, pieces, strict=False))
    marked += pieces[-1]
    filled = await service.fill(FillRequest(text=marked))
    fillings = tuple(
        Filling(tuple(each.spans), each.text, each.log_likelihood) for each in filled.fillings
    )
    written = "".join(f"<extra_id_{i}>{span}" for i, span in enumerate(fillings[0].spans))
    seeing = partial(look, text=marked, output=written, sentinels="pretraining")
    return Answer(
        None,
        Example(id="", inputs={"blanks": text}),
        written,
        Parsed(fillings[0].text),
        await service.worker.call(seeing),
        fillings=fillings,
        pieces=pieces,
    )


def _word_rows(sentence: str, words: str) -> str:
    """Makes the rows `word<TAB>lemmas<TAB>tags` of a sentence; without analysis every tag is NA.

    The tab key leaves a field in a browser, so columns may also be separated by `|`.
    """
    if not words.strip():
        return "\n".join(f"{word}\t{word}\tNA" for word in sentence.split())
    rows = []
    for number, line in enumerate(words.splitlines(), 1):
        if line.strip():
            rows.append([cell.strip() for cell in line.split("\t" if "\t" in line else "|")])
            if len(rows[-1]) != 3:
                raise Refusal("columns", number=number, columns=len(rows[-1]))
    return "\n".join("\t".join(row) for row in rows)


def _without_surrogates(text: str) -> str:
    """Replaces lone surrogates, which a browser may send, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
