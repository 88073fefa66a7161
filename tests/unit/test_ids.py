"""Job ids."""

import time
import uuid

from faena.ids import Ids


def test_an_id_is_a_uuid_of_version_7():
    made = Ids()()
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


def test_an_id_tells_when_it_was_made():
    milliseconds = uuid.UUID(Ids()()).int >> 80
    assert abs(milliseconds - time.time() * 1000) < 5000


def test_ids_grow():
    ids = Ids()
    made = [ids() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_grow_although_the_clock_steps_back(monkeypatch):
    ids = Ids()
    before = ids()
    back = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("faena.ids.time.time_ns", lambda: back)
    assert before < ids() < ids()
