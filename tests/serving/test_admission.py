"""Places are held exactly as long as a request is in progress."""

import asyncio

import pytest

from kebyt5.serving.admission import MAX_WAIT, Admission, Places
from kebyt5.serving.options import ServeOptions
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


def test_more_windows_than_there_are_places_are_refused_for_good():
    options = ServeOptions()
    admission = Admission(options)

    async def hold(places):
        with admission.hold(places, deadline=5) as due:
            assert admission.places.taken == places
            return due - asyncio.get_running_loop().time()

    assert 4 < asyncio.run(hold(options.places)) <= 5
    with pytest.raises(Problem, match=f"{options.places + 1} windows") as refusal:
        asyncio.run(hold(options.places + 1))
    assert refusal.value.status == 422  # not 429: waiting would not help
    assert admission.places.taken == 0


def test_texts_are_counted_and_measured_before_they_get_a_place():
    options = ServeOptions()
    admission = Admission(options)

    async def admit(inputs):
        with admission.admit(inputs, None):
            return admission.places.taken

    assert asyncio.run(admit(["하늘", "바다"])) == 2
    too_many, too_long = options.max_texts + 1, options.max_input_bytes + 1
    for inputs, message in ((["가"] * too_many, f"{too_many} texts"), (["a" * too_long], "divide")):
        with pytest.raises(Problem, match=message):
            asyncio.run(admit(inputs))
    assert admission.places.taken == 0
