"""Multi-commit commands: what may need more than one commit.

Rule: each part is a commit of its own, so the command is not atomic. When one part fails, the parts
before it stay stored. The same command given again does the rest.
"""

from __future__ import annotations

from typing import Protocol

from timeline.commit.draft import Draft


class MultiCommit(Protocol):
    """A command in parts. Whoever carries it out calls `step` with a new draft until it is done."""

    def step(self, draft: Draft) -> bool:
        """Stage the next part in `draft`; whether there is more."""
