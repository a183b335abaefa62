import pytest

from kebyt5.errors import InputError
from kebyt5.pretraining.devices import divide_batch


@pytest.mark.parametrize(
    ("batch", "largest", "world", "expected"),
    [(16, 16, 1, (16, 1)), (16, 4, 1, (4, 4)), (16, 16, 2, (8, 1)), (12, 5, 1, (4, 3))],
)
def test_batches_are_divided_among_devices(batch, largest, world, expected):
    assert divide_batch(batch, largest, world) == expected
    with pytest.raises(InputError, match=f"--batch-size {batch}: not a multiple of 7 devices"):
        divide_batch(batch, largest, 7)
