"""Running the stages of a pipeline: datatrove's executors, quiet and with errors that arrive.

datatrove logs to the terminal, and its Ray executor goes on when tasks fail. Here logs go to files
only, and what stopped a task is written down beside them, wherever it ran, for the one who waits.
"""

import errno
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger
from datatrove.utils.stats import PipelineStats

from kebyt5.corpus.config import Executor
from kebyt5.errors import InputError
from kebyt5.output import write_json


@dataclass(frozen=True)
class Stage:
    """A part of the pipeline that begins when the part before it has ended everywhere."""

    name: str
    steps: list[PipelineStep]
    tasks: int


class _Reporting(PipelineExecutor):
    """Writes down why a task failed."""

    def _run_for_rank(self, rank: int, *args: Any, **kwargs: Any) -> PipelineStats:
        failure = Path(self.logging_dir.path) / "failures" / f"{rank:05d}.json"
        try:
            with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
                try:
                    stats = super()._run_for_rank(rank, *args, **kwargs)
                finally:
                    logger.remove()
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            cause = f"{error.strerror}; make room" if full else str(error)  # type: ignore[attr-defined]
            known = full or isinstance(error, InputError)
            try:
                failure.parent.mkdir(parents=True, exist_ok=True)
                write_json(failure, {"known": known, "cause": cause, "kind": type(error).__name__})
            except (OSError, InputError):
                pass  # A full disk may not have room for this either; the error itself has to do.
            raise
        failure.unlink(missing_ok=True)
        return stats


class _Local(_Reporting, LocalPipelineExecutor):
    """datatrove's, without the manager process it starts, which outlives a build that is killed."""

    def run(self) -> None:
        """Runs all tasks that have not been completed, in this process if there is one worker."""
        self.save_executor_as_json()
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                deepcopy(self)._run_for_rank(rank)
            return
        # Workers are forked from a process that has imported everything once for all of them.
        context = multiprocess.get_context("forkserver")
        context.set_forkserver_preload(["kebyt5.corpus.build"])
        with context.Pool(self.workers, initializer=_end_with_parent) as pool:
            for _ in pool.imap_unordered(self._run_for_rank, ranks):
                pass


def _end_with_parent() -> None:
    """Has a worker end with the build, so that it does not write beside the next one."""
    parent = multiprocess.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Ray(_Reporting, RayPipelineExecutor):
    pass


class _Slurm(_Reporting, SlurmPipelineExecutor):
    pass


def run_stages(stages: Sequence[Stage], options: Executor, logs: Path) -> bool:
    """Runs the tasks of all stages that have not been completed before.

    Args:
        stages: In their order.
        options: Where.
        logs: Folder for logs and what has been completed.

    Returns:
        Whether all is done; with Slurm it is only submitted.

    Raises:
        InputError: A task cannot go on; names the file or what else is wrong.
    """
    logger.remove()
    if options.kind == "slurm":
        _submit(stages, options, logs)
        return False
    workers = options.workers or (os.cpu_count() or 1)
    with _ray(options, workers) if options.kind == "ray" else nullcontext(), _Progress() as bar:
        for number, stage in enumerate(stages, 1):
            folder = logs / stage.name
            with bar.stage(f"{number}/{len(stages)} {stage.name}", folder, stage.tasks):
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
    try:
        executor.run()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _full(folder, f"{error.strerror}; make room") from error
    if executor.get_incomplete_ranks():
        raise _failure(folder)


def _failure(folder: Path) -> Exception:
    """The error of the first task that failed."""
    for path in sorted((folder / "failures").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["known"] and found["kind"] != "InputError":
            return _full(folder, found["cause"])
        if found["known"]:
            return InputError(found["cause"])
        return RuntimeError(f"{found['kind']}: {found['cause']}; see {folder / 'logs'}")
    return RuntimeError(f"a task did not end; see {folder / 'logs'}")


def _full(folder: Path, cause: str) -> InputError:
    place = folder.parents[2]
    return InputError(f"{place}: {cause} and run it again, what is done is kept")


def _submit(stages: Sequence[Stage], options: Executor, logs: Path) -> None:
    """Hands all stages to Slurm, each to begin after the one before it."""
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
    """Connects to a cluster, or makes one of this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address, **quiet)
    else:
        # Documents never go through Ray's own memory, only which task is to run.
        local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 << 20}
        memory = int(workers * options.memory * 2**30)
        ray.init("local", num_cpus=workers, _memory=memory, **local, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


class _Progress:
    """A bar that counts completed tasks, wherever they run."""

    def __enter__(self) -> "_Progress":
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
        # The stream by itself, as `sys.stderr` is another one while tasks run.
        self.progress = Progress(*columns, console=Console(file=sys.stderr))
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    @contextmanager
    def stage(self, name: str, folder: Path, tasks: int) -> Iterator[None]:
        """Follows a stage."""
        bar = self.progress.add_task(name, total=tasks)
        done = threading.Event()

        def completed() -> int:
            return sum(1 for _ in (folder / "completions").glob("*"))

        def follow() -> None:
            while not done.wait(0.5):
                self.progress.update(bar, completed=completed())

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()
            self.progress.update(bar, completed=completed())


__all__ = ["Stage", "run_stages"]
