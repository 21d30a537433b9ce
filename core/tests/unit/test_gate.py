"""Who is inside, who may enter, and who releases once the last call has ended."""

import threading

import pytest

from paysession import StoreError
from paysession._engine import gate as gates
from paysession._engine.gate import Gate, gated


class Calls:
    """What limits the time of a call."""

    def within(self, method, *arguments):
        return "timed", method(*arguments)


@gated(beside=("close",), also=("_work",), timed=("pay",))
class Door:
    """A class whose calls enter through a gate, and say who is inside."""

    name = "a door"

    def __init__(self, release=bool):
        self._gate = Gate(release)
        self._calls = Calls()

    def get(self):
        return list(self._gate.inside)

    def pay(self):
        return self.get()

    def both(self):
        return self.pay(), self.get()

    def fails(self):
        return 1 / 0

    def _work(self):
        return self.get()

    def _apart(self):
        return list(self._gate.inside)

    def close(self):
        self._gate.close()


def test_public_methods_enter_and_of_private_ones_those_that_are_named():
    door, here = Door(), [threading.get_ident()]
    assert (door.get(), door._work()) == (here, here)
    assert door._apart() == []
    door.close()
    for call in (door.get, door._work):
        with pytest.raises(StoreError, match="closed"):
            call()
    assert (door._apart(), door.name) == ([], "a door")


def test_the_time_of_those_that_are_named_is_limited_within_another_call_as_well():
    door, here = Door(), [threading.get_ident()]
    assert door.pay() == ("timed", here)
    assert door.both() == (("timed", here), here)


def test_a_call_that_fails_is_not_inside_any_more():
    door = Door()
    with pytest.raises(ZeroDivisionError):
        door.fails()
    assert door._apart() == []


def test_a_call_that_is_refused_releases_nothing_again():
    released = []
    door = Door(lambda: released.append(1))
    door.close()
    with pytest.raises(StoreError):
        door.get()
    assert released == [1]


def test_a_part_of_a_call_that_closes_releases_when_it_ends():
    released = []
    gate = Gate(lambda: released.append(1))

    def work():
        gate.close()
        assert released == []

    gate.part(work)()
    assert (released, gate.inside) == ([1], {})


def test_a_part_of_a_call_that_ends_leaves_an_open_gate_open():
    released, inside = [], []
    gate = Gate(lambda: released.append(1))
    gate.part(lambda: inside.extend(gate.inside))()
    assert (released, inside, gate.inside) == ([], [threading.get_ident()], {})


def test_closing_pauses_while_a_call_is_inside(monkeypatch):
    gate, pauses = Gate(bool), []
    gate.inside[0] = None

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            del gate.inside[0]

    monkeypatch.setattr(gates.time, "sleep", sleep)
    gate.close()
    assert pauses == [gates.POLL] * 3


class Releasing:
    """A gate that another thread is about to release."""

    def __init__(self):
        self.entered, self.go, self.released = threading.Event(), threading.Event(), []
        self.gate = Gate(self._release)
        self._thread = threading.Thread(target=self.gate.close)

    def _release(self):
        self.released.append(threading.get_ident())
        self.entered.set()
        assert self.go.wait(20)

    def __enter__(self):
        self._thread.start()
        assert self.entered.wait(20)
        return self

    def __exit__(self, *_):
        self.go.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_what_one_thread_releases_no_other_releases_as_well():
    with Releasing() as other:
        other.gate.release_if_empty()
        assert len(other.released) == 1


def test_a_child_releases_by_itself_what_its_parent_was_releasing():
    with Releasing() as parent:
        parent.gate.forked()  # as a child does in whose parent another thread was releasing
        parent.go.set()
        parent.gate.close()
        assert parent.released[1:] == [threading.get_ident()]


def test_a_child_forgets_the_calls_of_its_parents_other_threads():
    gate, here = Gate(bool), threading.get_ident()
    gate.inside.update(dict.fromkeys([here, 0]))
    gate.forked()
    assert list(gate.inside) == [here]


def test_what_one_thread_was_interrupted_at_another_releases():
    class Stop(BaseException):
        pass

    stopped, released = [], []

    def release():
        if not stopped:
            raise Stop
        released.append(1)

    gate = Gate(release)

    def closes():
        try:
            gate.close()
        except Stop:
            stopped.append(1)

    thread = threading.Thread(target=closes)
    thread.start()
    thread.join(20)
    assert stopped == [1]
    gate.close()
    assert released == [1]
