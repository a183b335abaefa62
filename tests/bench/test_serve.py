"""A server under load for a moment, and the page about it."""

import pytest
import torch

from kebyt5.bench.serve import Answers, Endurance, Load, enlarged, seconds_to_refuse
from kebyt5.bench.serve_report import report_serve
from kebyt5.cli.bench import bench
from kebyt5.errors import InputError
from kebyt5.models.loading import load


def run(*arguments):
    tokens = [str(argument) for argument in arguments]
    bench(tokens, exit_on_error=False, print_error=False, result_action="return_value")


@pytest.mark.slow
def test_a_server_answers_rightly_and_to_the_last(tmp_path):
    run(
        "serve", "tiny", "--clients", 3, "--minutes", 0.02, "--cancelled", 0.3, "--output", tmp_path
    )
    page = (tmp_path / "bench-serve.md").read_text()
    assert page.startswith("# A server under load\n\n![A server under load](bench-serve.png)\n")
    assert "* **Wrong answers**: 0." in page
    assert "with 3 requests under way: 3 answered, 0 wrong, 0 lost." in page
    assert (tmp_path / "bench-serve.png").exists()


def test_wrong_answers_and_growing_memory_are_seen():
    alone = Answers(seconds=10, processor=5, latencies=[1.0] * 10, bytes=100)
    together = Answers(seconds=10, processor=9, latencies=[2.0] * 60, bytes=600, wrong=2, tied=1)
    overload = Answers(seconds=10, latencies=[1.0], refused=[0.01, 0.03, 0.02])
    stopped = Answers(seconds=1, latencies=[1.0] * 3, failed={"ReadError": 1})
    memory = [(float(second), (100 + second) * 2**20) for second in range(100)]
    load = Load(64, 300, 0.1)
    endurance = Endurance(
        load, 0.5, alone, together, overload, 1.5, stopped, memory, [0.004, 0.001, 0.002]
    )
    assert endurance.growth == pytest.approx(189.5 / 109.5 - 1)
    page = report_serve(endurance, "tiny")
    for part in (
        "| **times one at a time** | 6.0 | 6.0 | 1 / 3.3 |",
        "| **times `generate`** | 12.0 |",
        "* **Wrong answers**: 2. 1 others",
        "+73.1%",
        "half of these within 20 ms, 99 % within 20 ms as the client sees it, 2 and 2 ms",
        "4 requests under way: 3 answered, 0 wrong, 1 lost",
    ):
        assert part in page


def test_a_log_tells_how_long_refusals_took():
    log = [b"Loading\n", b'{"message": "starting"}\n',
           b'{"status": 429, "seconds": 0.004}\n', b'{"status": 200, "seconds": 2}\n']  # fmt: skip
    assert seconds_to_refuse(log) == [0.004]


def test_invalid_options_are_refused_before_anything_runs():
    with pytest.raises(InputError, match="at most 1"):
        run("serve", "--cancelled", 2)


def test_what_is_served_enlarged_answers_as_the_small_model_does():
    ids = torch.tensor([[10, 20, 30, 40, 1]])
    with enlarged("tiny", "tiny") as folder, torch.inference_mode():
        large, small = load(folder), load("tiny")
        assert large.config.vocab_size == small.config.vocab_size
        torch.testing.assert_close(
            large(input_ids=ids, decoder_input_ids=ids).logits,
            small(input_ids=ids, decoder_input_ids=ids).logits,
            atol=1e-4, rtol=1e-4,
        )  # fmt: skip
    with enlarged(None, "runs/ner") as served:
        assert served == "runs/ner"


def test_a_model_of_another_shape_is_not_enlarged(checkpoint):
    with (
        pytest.raises(InputError, match="cannot be widened to base: its d_kv is 8, not 64; give"),
        enlarged("base", str(checkpoint)),
    ):
        pass
