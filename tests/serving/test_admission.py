"""Places are held exactly as long as a request is in progress."""

import pytest

from kebyt5.serving.admission import MAX_WAIT, Places
from kebyt5.serving.problems import Problem


def test_places_are_given_back_whatever_happens():
    places = Places(slots=2, total=4)
    with places.take(3):
        assert (places.taken, places.waiting) == (3, 1)
        with pytest.raises(Problem) as refusal, places.take(2):
            pass
        assert refusal.value.status == 429
        with pytest.raises(KeyError), places.take(1):
            raise KeyError
    assert (places.taken, places.waiting) == (0, 0)


def test_the_wait_follows_how_long_texts_take(monkeypatch):
    clock = 0.0
    monkeypatch.setattr("kebyt5.serving.admission.time.monotonic", lambda: clock)
    places = Places(slots=1, total=2)
    for _ in range(100):
        with places.take(1):
            clock += 20
    with places.take(2):
        assert places.wait == 10  # one of two waits, and 20 s are the time of both
        for _ in range(100):
            places._seconds = 1000
        assert places.wait == MAX_WAIT
