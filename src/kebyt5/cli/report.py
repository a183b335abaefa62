"""`kebyt5 report`."""

from pathlib import Path

from kebyt5.errors import InputError


def report(*runs: Path, output: Path) -> None:
    """Write a report of runs: scores beside published ones, curves, labels, the worst errors.

    The output folder gets `report.md` with its plots, and `report.html`, a single file with
    everything in it.

    ```bash
    kebyt5 report runs/ner --output report
    kebyt5 report runs/ner runs/dp-scores runs/all-tasks --output report
    ```

    Args:
        runs: Folders that `kebyt5 finetune` or `kebyt5 evaluate --output` wrote, or parents of
            such folders.
        output: A new folder.
    """
    from kebyt5.output import new_folder
    from kebyt5.provenance import provenance
    from kebyt5.reporting.report import write_report
    from kebyt5.reporting.results import read_runs

    if not runs:
        raise InputError("give the output folders of runs to report on")
    found = read_runs(runs)
    with new_folder(output) as folder:
        write_report(found, folder, provenance())
    print(f"Written to {output}: report.md and report.html")
