"""The promise: what the contract does not say is as in Redis 7, also where nobody thought of it:
random stream commands, right and wrong, get the same replies from the daemon as from redis-server.

A longer run, or the one that failed:

    pytest tests/server/test_differential.py --differential-bursts 20000 --differential-seed 1234
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.server.daemon import Daemon
from tests.server.differential import Draw, Link, Pair


@pytest.mark.timeout(0)  # in its long form
@pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])
def test_random_commands_are_answered_as_redis_answers_them(
    daemon: Daemon, peer: Path, protocol: int, request: pytest.FixtureRequest
) -> None:
    seed = request.config.option.differential_seed or random.randrange(10**9)
    with Link((daemon.host, daemon.port), protocol) as ours, Link(str(peer), protocol) as theirs:
        for link in (ours, theirs):
            link.ask([[b"FLUSHALL"]])
        pair = Pair(ours, theirs, Draw(f"{seed}-{protocol}"))
        for number in range(request.config.option.differential_bursts):
            try:
                pair.step()
            except AssertionError as error:
                pytest.fail(f"burst {number}, --differential-seed {seed}: {error}", pytrace=False)
