"""The promise: a run of appends gives the numbers that as many single appends give, wherever what
is known of the timelines lies.
"""

from __future__ import annotations

import random
from pathlib import Path

import timeline
from timeline.options import Options

# Some lie in memory, some in the head cache, most on the disk only.
OPTIONS = Options(fsync="inline", timeline_cache=5, dormant_timelines=5)


def test_a_run_over_many_timelines_goes_on_in_each(tmp_path: Path) -> None:
    draw = random.Random(3)
    heads = {b"t%d" % number: draw.randint(1, 4) for number in range(60)}
    with timeline.open(tmp_path, OPTIONS) as db:
        for name, head in heads.items():
            db.timeline(name.decode()).append_many([{"v": "1"}] * head)
        db.timeline("t7").drop()
        del heads[b"t7"]
    with timeline.open(tmp_path, OPTIONS) as db:
        engine = db.engine
        names = draw.choices(list(heads), k=200)
        expected = []
        for name in names:
            heads[name] += 1
            expected.append(heads[name])
        with engine.lock:
            columns = [[b"v"] * 200, [b"2"] * 200]
            assert list(engine.appender.append_run(names, columns)) == expected
            names = [*draw.sample(list(heads), 20), b"t7", *draw.sample(list(heads), 20)]
            columns = [[b"v"] * 41, [b"3"] * 41]
            done = engine.appender.append_run(names, columns)
            assert list(done) == [heads[name] + 1 for name in names[:20]]
        db.flush()
        for name in names[:20]:
            heads[name] += 1
        assert {name: db.timeline(name.decode()).head for name in heads} == heads
