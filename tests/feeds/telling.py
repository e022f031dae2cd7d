"""What notes must say: who did what, in the order in which it was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

_KEPT = 20  # of those who did something


class Doer(NamedTuple):
    """Who did something, and the post with which they did, if it was one."""

    user: str
    post: str


@dataclass
class Group:
    """Those who did one thing, the newest first, and at which place it was told last."""

    owner: str
    kind: str
    post: str
    doers: list[Doer] = field(default_factory=list)
    place: int = 0
    commit: int = 0


class Told:
    """Everything that was told; each thing that is done is told anew."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str, str], Group] = {}
        self.places = 0
        self.seen: dict[str, int] = {}
        self._commit = 0
        self._joined = False

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        """What is told meanwhile is of one commit."""
        self._commit += 1
        self._joined = True
        yield
        self._joined = False

    def tell(
        self,
        owner: str,
        kind: str,
        post: str,
        doer: str,
        with_post: str = "",
        *,
        heard: bool = True,
    ) -> bool:
        """Whether that was told anew."""
        if owner == doer:
            return False
        if not self._joined:
            self._commit += 1
        group = self.groups.setdefault((owner, kind, post), Group(owner, kind, post))
        is_told = heard and group.commit != self._commit
        if is_told:
            self.places += 1
            group.place, group.commit = self.places, self._commit
        others = (each for each in group.doers if each.user != doer)
        group.doers = [Doer(doer, with_post), *others][:_KEPT]
        return is_told

    def of(self, owner: str) -> list[Group]:
        """The newest first."""
        found = [each for each in self.groups.values() if each.owner == owner and each.place]
        return sorted(found, key=lambda each: -each.place)
