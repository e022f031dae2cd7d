"""The promise: what writes are refused with follows from the state, and states follow each other as
the table says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from timeline.commit.gate import Gate
from timeline.engine.statistics import Statistics
from timeline.engine.writecontrol import OpenedReadOnlyError, State, WriteControl
from timeline.errors import BusyError, ClosedError, ReadOnlyError, StallError, TimelineError
from timeline.options import Options

BOUND: Final = 1_000
PAUSE: Final = StallError("a pause")


class Controlled:
    """Write control, and the gate that it shuts."""

    def __init__(self) -> None:
        self.gate = Gate(100)
        options = Options(unsealed_bytes=BOUND)
        lock = threading.RLock()
        self.control = WriteControl(self.gate, options, Path(), lock, Statistics())

    def refused_with(self) -> type[TimelineError] | None:
        try:
            self.gate.check_room(0)
        except TimelineError as error:
            return type(error)
        return None


def stall_long(control: WriteControl) -> None:
    control._stalled_at = 0.001  # when the machine was started
    control.stalled(PAUSE)


EVENTS: Final[dict[str, Callable[[WriteControl], object]]] = {
    "stalled": stall_long,
    "written": lambda control: control.written(),
    "behind": lambda control: control.behind(PAUSE, BOUND + 1),
    "relent": lambda control: control.relent(BOUND),
    "poison": lambda control: control.poison(OSError("no space left")),
    "healed": lambda control: control.healed(),
    "only read": lambda control: control.only_read(),
    "begin closing": lambda control: control.begin_closing(),
    "close": lambda control: control.close(),
    "refuse in child": lambda control: control.refuse_in_child(),
}

# How each state is reached, and what then leads on from it.
REACHED: Final = {
    State.WRITABLE: (),
    State.STALLED: ("stalled",),
    State.BEHIND: ("behind",),
    State.POISONED: ("poison",),
    State.READ_ONLY: ("only read",),
    State.CLOSING: ("begin closing",),
    State.GIVEN_UP: ("poison", "begin closing"),
    State.CLOSED: ("close",),
    State.IN_CHILD: ("refuse in child",),
}
ENDS: Final = {"close": State.CLOSED, "refuse in child": State.IN_CHILD}
FAILS: Final = {"poison": State.POISONED, "begin closing": State.CLOSING}
LEADS: Final[dict[State, dict[str, State]]] = {
    State.WRITABLE: {
        "stalled": State.STALLED,
        "behind": State.BEHIND,
        "only read": State.READ_ONLY,
        **FAILS,
        **ENDS,
    },
    State.STALLED: {"written": State.WRITABLE, **FAILS, **ENDS},
    State.BEHIND: {"written": State.WRITABLE, "relent": State.WRITABLE, **FAILS, **ENDS},
    State.POISONED: {"healed": State.WRITABLE, "begin closing": State.GIVEN_UP, **ENDS},
    State.READ_ONLY: {**ENDS},
    State.CLOSING: {"poison": State.GIVEN_UP, **ENDS},
    State.GIVEN_UP: {**ENDS},
    State.CLOSED: {},
    State.IN_CHILD: {},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", State)
def test_an_event_leads_where_the_table_says_and_else_changes_nothing(
    state: State, event: str
) -> None:
    control = Controlled().control
    for step in REACHED[state]:
        EVENTS[step](control)
    assert control.state is state
    EVENTS[event](control)
    assert control.state is LEADS[state].get(event, state)


@pytest.mark.parametrize(
    ("state", "refused", "writes", "closed"),
    [
        (State.WRITABLE, None, True, False),
        (State.STALLED, BusyError, True, False),
        (State.BEHIND, BusyError, True, False),
        (State.POISONED, ReadOnlyError, False, False),
        (State.READ_ONLY, OpenedReadOnlyError, False, False),
        (State.CLOSING, ClosedError, True, False),
        (State.GIVEN_UP, ClosedError, False, False),
        (State.CLOSED, ClosedError, False, True),
        (State.IN_CHILD, ClosedError, False, True),
    ],
)
def test_a_state_says_what_writes_get_and_what_goes_on(
    state: State, refused: type[TimelineError] | None, writes: bool, closed: bool
) -> None:
    controlled = Controlled()
    control = controlled.control
    for step in REACHED[state]:
        EVENTS[step](control)
    found = controlled.refused_with()
    assert found is refused or (refused is not None and found and issubclass(found, refused))
    assert (control.writes, control.closed) == (writes, closed)


def test_a_short_pause_refuses_nothing() -> None:
    controlled = Controlled()
    control = WriteControl(
        controlled.gate, Options(stall_ms=60_000), Path(), threading.RLock(), Statistics()
    )
    control.stalled(PAUSE)
    assert controlled.refused_with() is None


def test_memory_within_its_bound_refuses_nothing() -> None:
    controlled = Controlled()
    controlled.control.behind(PAUSE, BOUND)
    assert controlled.refused_with() is None


def test_a_store_that_could_not_be_opened_again_says_why_and_heals_later() -> None:
    controlled = Controlled()
    control = controlled.control
    control.poison(OSError("no space left"))
    control.not_healed(OSError("still none"))
    with pytest.raises(ReadOnlyError, match="still none"):
        controlled.gate.check()
    control.healed()
    assert controlled.refused_with() is None
