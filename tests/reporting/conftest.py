"""Results in the format of the commands, made without a model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kebyt5.tasks import Example, get_task

MADE = {
    "command": "kebyt5 evaluate runs/a --task ynat",
    "commit": "0123abc",
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "a processor", "cores": 2},
    "versions": {"kebyt5": "0.1.0"},
}


@pytest.fixture
def write_result() -> Callable[..., Path]:
    """Writes the folder of a result; further arguments go into `metrics.json`."""

    def write(
        folder: Path, name: str, examples: Sequence[Example], texts: Sequence[str], **extra: Any
    ) -> Path:
        task = get_task(name)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"task": name, "scores": task.score(examples, texts), "baseline": None}
        metrics |= {"examples": len(examples), "truncated": 0, "made": MADE, **extra}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        lines = [
            {
                "id": example.id,
                "input": dict(example.inputs),
                "text": text,
                "answer": None,
                "unparsed": None,
                "target": task.target_text(example),
            }
            for example, text in zip(examples, texts, strict=True)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def dev_examples(klue_data: Path) -> Callable[[str], list[Example]]:
    """Reads the KLUE validation data of a task."""

    def read(name: str) -> list[Example]:
        (path,) = klue_data.glob(f"klue/*{name}-v1.1/*{name}-v1.1_dev.*")
        return list(get_task(name).read(path))

    return read


@pytest.fixture
def headlines() -> list[Example]:
    """Three examples of topic classification."""
    golds = ("사회", "경제", "사회")
    return [Example(f"e{i}", {"title": f"제목 {i}"}, gold) for i, gold in enumerate(golds)]
