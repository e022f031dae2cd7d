"""The promise: what the contract does not say is as in Redis 7, also where nobody thought of it:
random stream commands, right and wrong, get the same replies from the daemon as from redis-server.
Bounds are so small that most of what is read was sealed, and the daemon is killed now and then.

A longer run, or the one that failed:

    pytest tests/server/test_differential.py --differential-bursts 20000 --differential-seed 1234
"""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.server.daemon import Start
from tests.server.differential import Draw, Link, Pair

SMALL = (
    "--unsealed-bytes=20000", "--tails=40", "--segment-entries=4", "--segment-bytes=600",
    "--segment-cache-bytes=3000", "--timeline-cache=2", "--compact-after=2",
    "--write-buffer-bytes=65536", "--deleted-names=0",
)  # fmt: skip
LIFE = 2_000  # bursts at most between two kills


@pytest.mark.timeout(0)  # in its long form
@pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])
def test_random_commands_are_answered_as_redis_answers_them(
    start: Start, peer: Path, protocol: int, request: pytest.FixtureRequest
) -> None:
    seed = request.config.option.differential_seed or random.randrange(10**9)
    bursts = request.config.option.differential_bursts
    draw = Draw(f"{seed}-{protocol}")
    life = max(1, min(LIFE, bursts // 2))
    with Link(str(peer), protocol) as theirs:
        theirs.ask([[b"FLUSHALL"]])
        for begin in range(0, bursts, life):
            daemon = start(*SMALL)
            with Link((daemon.host, daemon.port), protocol) as ours:
                pair = Pair(ours, theirs, draw)
                for number in range(begin, min(begin + life, bursts)):
                    try:
                        pair.step()
                    except AssertionError as error:
                        told = f"burst {number}, --differential-seed {seed}: {error}"
                        pytest.fail(told, pytrace=False)
            daemon.stop(signal.SIGKILL)
