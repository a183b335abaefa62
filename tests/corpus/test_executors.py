"""Wherever the pipeline runs, the shards are the same and errors are reported."""

import os
import signal
import stat
import subprocess
import sys

import pytest
from datatrove.pipeline.base import PipelineStep

from kebyt5.corpus.build import build_corpus
from kebyt5.corpus.config import Executor
from kebyt5.corpus.executors import Stage, run_stages
from kebyt5.errors import InputError
from tests.corpus.samples import shard_files, texts

SMALL = {"ngram": 5, "buckets": 2, "hashes": 4}


@pytest.fixture
def files(tmp_path):
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts(number // 2, 20)))
    return tmp_path


class Killed(PipelineStep):
    """A step whose process is killed, as happens when memory runs out."""

    type = name = "killed"

    def run(self, data=None, rank=0, world_size=1):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_an_error_and_no_endless_wait(tmp_path):
    logs = tmp_path / "corpus" / ".work" / "logs"
    with pytest.raises(InputError, match=f"{tmp_path}/corpus: a worker was killed.*fewer"):
        run_stages([Stage("read", [Killed()], 2)], Executor(workers=2), logs)


LOOK = """
import sys
from pathlib import Path
from datatrove.pipeline.base import PipelineStep
from kebyt5.corpus.config import Executor
from kebyt5.corpus.executors import Stage, run_stages

class Look(PipelineStep):
    type = name = "look"

    def run(self, data=None, rank=0, world_size=1):
        has_torch, has_step = (name in sys.modules for name in ("torch", "kebyt5.corpus.build"))
        Path(f"{rank}.txt").write_text(f"{has_torch} {has_step}")

if __name__ == "__main__":
    run_stages([Stage("look", [Look()], 2)], Executor(workers=2), Path("logs").absolute())
"""


def test_workers_of_the_command_import_the_pipeline_but_not_pytorch(tmp_path):
    (tmp_path / "kebyt5").write_text(LOOK)
    subprocess.run([sys.executable, "kebyt5"], cwd=tmp_path, check=True)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["False True"] * 2


# A task of Ray is a process of its own, and MinHash has four more of them.
@pytest.mark.usefixtures("lazy_imports")
@pytest.mark.parametrize("dedup", [{"minhash": False}, pytest.param(SMALL, marks=pytest.mark.slow)])
def test_two_workers_of_ray_write_what_one_process_writes(build, files, dedup):
    local = build("local", dedup=dedup, executor={"workers": 1, "tasks": 2})
    options = {"kind": "ray", "workers": 2, "tasks": 2, "memory": 0.5}
    assert shard_files(build("ray", dedup=dedup, executor=options)) == shard_files(local)
    assert len(shard_files(local)) >= 9


@pytest.mark.slow
def test_errors_arrive_from_ray(build, files):
    (files / "d.txt").write_bytes(texts(1, 1)[0].encode("cp949"))
    with pytest.raises(InputError, match=r"d.txt:1: not UTF-8 but CP949"):
        build(executor={"kind": "ray", "workers": 2, "memory": 0.5})


SBATCH = """#!/bin/bash
# Runs the tasks of an array one after the other, in the place of Slurm.
script="${@: -1}"
last=$(sed -n 's/#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
echo "$(sed -n 's/#SBATCH --job-name=//p' "$script") $((last + 1))" >> "$SUBMITTED"
for task in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here bash "$script" >> "$SUBMITTED.log" 2>&1 || exit 1
done
echo "Submitted batch job 7"
"""


@pytest.mark.slow
def test_slurm_gets_a_chain_of_jobs(build, recipe, files, monkeypatch):
    commands = files / "bin"
    commands.mkdir()
    scripts = {
        "sbatch": SBATCH,
        "srun": '#!/bin/bash\nwhile [[ "$1" == -* ]]; do [ "$1" = -n ] && shift; shift; done\n"$@"',
        "scontrol": "#!/bin/bash\necho here\n",
    }
    for name, script in scripts.items():
        (commands / name).write_text(script)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(files / "submitted"))
    config = recipe("slurm", dedup=SMALL, executor={"kind": "slurm", "partition": "cpu"})
    assert not build_corpus(config)
    submitted = (files / "submitted").read_text().splitlines()
    jobs = [job for job in submitted[::2] if not job.startswith("merge")]
    assert jobs == [
        "corpus-read 3", "corpus-exact 1", "corpus-signatures 3", "corpus-buckets 2",
        "corpus-clusters 1", "corpus-shards 3", "corpus-report 1",
    ]  # fmt: skip
    assert shard_files(config.output) == shard_files(build("local", dedup=SMALL))
