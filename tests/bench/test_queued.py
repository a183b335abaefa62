"""All alternatives answer a queue with the same bytes."""

import pytest

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.queued import BATCH_SIZE, Queue, answer, bench_queue
from kebyt5.bench.weights import Weights


@pytest.fixture(scope="module")
def queue():
    return Queue.mixed(11, (5, 120), (3, 9))


def test_requests_are_of_all_lengths(queue):
    many = Queue.mixed(300, (30, 3000), (16, 112))
    lengths = sorted(len(request.ids) for request in many.requests)
    assert 30 <= lengths[0] < 40
    assert 2500 < lengths[-1] <= 3000
    assert 200 < lengths[150] < 450  # the middle of the logarithms
    assert {request.size for request in many.requests} <= set(range(16, 113))
    assert many.output_bytes == sum(request.size for request in many.requests)
    assert [r.ids.tolist() for r in queue.requests] == [
        r.ids.tolist() for r in Queue.mixed(11, (5, 120), (3, 9)).requests
    ]


def test_batches_keep_the_order_of_arrival(queue):
    (first, most), (rest, _) = queue.batches()
    assert len(first.input_ids) == BATCH_SIZE
    assert len(rest.input_ids) == 3
    assert most == max(request.size for request in queue.requests[:BATCH_SIZE])
    for row, request in enumerate(queue.requests[:BATCH_SIZE]):
        count = int(first.attention_mask[row].sum())
        assert first.input_ids[row, :count].tolist() == request.ids.tolist()
        assert not first.input_ids[row, count:].any()


@pytest.mark.parametrize(
    "names", [("transformers-sdpa", "kebyt5-engine"), ("kebyt5-gbst", "kebyt5-gbst-engine")]
)
def test_all_answer_alike(queue, names):
    weights = Weights.draw("tiny")
    one, other = (answer(ALTERNATIVES[name](weights), queue) for name in names)
    assert one == other
    assert [len(ids) for ids in one] == [request.size for request in queue.requests]


def test_seconds_of_every_round(queue):
    seconds = bench_queue("tiny", ["kebyt5-gbst-engine"], queue, rounds=2)
    assert len(seconds["kebyt5-gbst-engine"]) == 2
