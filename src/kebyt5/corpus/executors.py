"""Running the stages of a pipeline by datatrove's executors, with quiet logs and reported errors.

datatrove logs to the terminal, and its Ray executor continues when tasks fail. Here logs go to
files only, and the error of a failed task is written beside them, wherever it ran, so that the main
process can report it.
"""

import json
import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger
from datatrove.utils.stats import PipelineStats
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from kebyt5.corpus.config import Executor
from kebyt5.errors import InputError
from kebyt5.output import is_disk_full, write_json
from kebyt5.workers import end_with_parent


@dataclass(frozen=True)
class Stage:
    """A part of the pipeline, which begins when all tasks of the previous part have ended."""

    name: str
    steps: list[PipelineStep]
    tasks: int


class _Reporting(PipelineExecutor):
    """Records in a file why a task failed."""

    def _run_for_rank(self, rank: int, *args: Any, **kwargs: Any) -> PipelineStats:
        folder = Path(self.logging_dir.path)
        failure = folder / "failures" / f"{rank:05d}.json"
        try:
            with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), _full_disk(folder):
                stats = super()._run_for_rank(rank, *args, **kwargs)
        except Exception as error:
            cause = (
                str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            )
            # If a full disk has no room for this file either, the raised error has to do.
            with suppress(OSError, InputError):
                failure.parent.mkdir(parents=True, exist_ok=True)
                write_json(failure, {"input": isinstance(error, InputError), "cause": cause})
            raise
        finally:
            logger.remove()
        failure.unlink(missing_ok=True)
        return stats


class _Local(_Reporting, LocalPipelineExecutor):
    """datatrove's local executor with a different pool.

    datatrove's own pool waits forever when a worker is killed, and its manager process survives
    when the build is killed.
    """

    def run(self) -> None:
        """Runs all incomplete tasks, in this process if there is only one worker."""
        self.save_executor_as_json()
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                deepcopy(self)._run_for_rank(rank)
            return
        # The fork server imports everything once, for all workers.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["kebyt5.corpus.build"])
        with ProcessPoolExecutor(self.workers, context, end_with_parent) as pool:
            try:
                for task in as_completed([pool.submit(_run_task, self, rank) for rank in ranks]):
                    task.result()
            except BrokenProcessPool as error:
                raise InputError(
                    f"{_output(Path(self.logging_dir.path))}: a worker was killed, perhaps for lack"
                    " of memory; run it again with fewer --workers, finished tasks are kept"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _run_task(executor: _Local, rank: int) -> None:
    executor._run_for_rank(rank)


class _Ray(_Reporting, RayPipelineExecutor):
    pass


class _Slurm(_Reporting, SlurmPipelineExecutor):
    pass


def run_stages(stages: Sequence[Stage], options: Executor, logs: Path) -> bool:
    """Runs all incomplete tasks of all stages.

    Args:
        stages: The stages, in order.
        options: Where to run them.
        logs: Folder for logs and marks of completed tasks.

    Returns:
        Whether all tasks are done; with Slurm they are only submitted.

    Raises:
        InputError: A task failed because of its input; names the file or the cause.
        RuntimeError: A task failed for another reason.
    """
    logger.remove()
    if options.kind == "slurm":
        _submit(stages, options, logs)
        return False
    workers = options.workers or (os.cpu_count() or 1)
    with _ray(options, workers) if options.kind == "ray" else nullcontext(), _progress() as bars:
        for number, stage in enumerate(stages, 1):
            folder = logs / stage.name
            with _shown(bars, f"{number}/{len(stages)} {stage.name}", folder, stage.tasks):
                _run(stage, options, workers, folder)
    return True


def _run(stage: Stage, options: Executor, workers: int, folder: Path) -> None:
    executor: PipelineExecutor
    tasks = {"tasks": stage.tasks, "logging_dir": str(folder)}
    if options.kind == "ray":
        on_cluster = options.workers or -1
        executor = _Ray(stage.steps, workers=on_cluster, mem_per_cpu_gb=options.memory, **tasks)
    else:
        executor = _Local(stage.steps, workers=min(workers, stage.tasks), **tasks)
    with _full_disk(folder):
        executor.run()
    if executor.get_incomplete_ranks():
        raise _failure(folder)


def _failure(folder: Path) -> Exception:
    """Makes an exception from the record of the first task that failed."""
    for path in sorted((folder / "failures").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["input"]:
            return InputError(found["cause"])
        return RuntimeError(f"{found['cause']}; see {folder / 'logs'}")
    return RuntimeError(f"a task did not finish; see {folder / 'logs'}")


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Turns the error of a full disk, which may be raised anywhere, into one with a remedy."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise InputError(
            f"{_output(folder)}: {error.strerror}; make room and run it again, finished tasks are"
            " kept"
        ) from error


def _output(folder: Path) -> Path:
    """Returns the folder of the corpus, given a stage's folder for logs."""
    return folder.parents[2]


def _submit(stages: Sequence[Stage], options: Executor, logs: Path) -> None:
    """Submits all stages to Slurm, each to begin after the previous one."""
    if shutil.which("sbatch") is None:
        raise InputError("there is no sbatch here; run this on a login node of a Slurm cluster")
    before = None
    for stage in stages:
        before = _Slurm(
            stage.steps,
            tasks=stage.tasks,
            time=options.time,
            partition=options.partition,
            mem_per_cpu_gb=options.memory,
            workers=options.workers or -1,
            job_name=f"corpus-{stage.name}",
            env_command=options.setup,
            sbatch_args=options.sbatch,
            qos="",
            logging_dir=str(logs / stage.name),
            depends=before,
        )
    assert before is not None
    before.run()


@contextmanager
def _ray(options: Executor, workers: int) -> Iterator[None]:
    """Connects to a Ray cluster, or starts one on this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address, **quiet)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Only task numbers go through Ray's object store, never documents.
        local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 << 20}
        memory = int(workers * options.memory * 2**30)
        ray.init("local", num_cpus=workers, _memory=memory, **local, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _progress() -> Progress:
    """Makes the progress bars of a build, one for each stage."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    # The stream itself, since `sys.stderr` is redirected while tasks run.
    return Progress(*columns, console=Console(file=sys.stderr))


@contextmanager
def _shown(progress: Progress, name: str, folder: Path, tasks: int) -> Iterator[None]:
    """Shows how many tasks of a stage are complete, wherever they run, during the block."""
    bar = progress.add_task(name, total=tasks)
    done = threading.Event()

    def update() -> None:
        progress.update(bar, completed=sum(1 for _ in (folder / "completions").glob("*")))

    def follow() -> None:
        while not done.wait(0.5):
            update()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()
        update()
