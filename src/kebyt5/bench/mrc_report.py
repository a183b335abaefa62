"""Page of the efficiency on KLUE-MRC."""

from collections.abc import Sequence

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.mrc import GBST, PLAIN, PUBLISHED, Efficiency
from kebyt5.bench.report import GIB, made_with, table


def report_mrc(size: str, results: Sequence[Efficiency], rounds: int) -> str:
    """Writes the page with the model card's efficiency table, measured here, and its ratios."""
    lines = [
        f"# Efficiency on KLUE-MRC, {size}",
        "",
        "Both models as this package runs them, one text at a time, float32, random weights of"
        f" T5's own scale; medians of {rounds} interleaved rounds. Training is forward and backward"
        " without the optimizer, inference encodes and decodes greedily as many bytes as the"
        " reference answer has. The published ratios are those of the model card: KLUE-MRC,"
        " contexts of up to 6,800 bytes, A100.",
        "",
    ]
    for result in results:
        rows = []
        for name in (PLAIN, GBST):
            cells = [ALTERNATIVES[name].title]
            for part in PUBLISHED:
                speed = result.samples_per_second(name, part)
                needs = result.needs.get(name, 0) / GIB
                cells.append(f"does not fit: {needs:.1f} GiB" if speed is None else f"{speed:.4f}")
            rows.append(cells)
        ratios = [result.ratio(part) for part in PUBLISHED]
        rows.append(["**times (range)**", *(str(times) if times else "" for times in ratios)])
        rows.append(["times, published (A100)", *(f"{times}" for times in PUBLISHED.values())])
        head = ["", *(f"{part}, samples/s" for part in PUBLISHED)]
        lines += [f"## {result.texts.title}", "", *table(head, rows), ""]
    return "\n".join([*lines, made_with(), ""])
