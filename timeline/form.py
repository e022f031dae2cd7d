"""In which form this code runs: compiled by mypyc, or interpreted.

The files are the same. `setup.py` compiles some where there is a C compiler, and this one with
them, so what it is says what they are.
"""

from __future__ import annotations

from types import FunctionType
from typing import Final, TypeVar

C = TypeVar("C", bound=type)


def interpreted(cls: C) -> C:
    """A class that stays Python's own where its module is compiled: one that takes weak references,
    extends a class of Python, or has methods that tests replace. mypyc leaves alone what has a
    decorator that it does not know.
    """
    return cls


compiled: Final = not isinstance(interpreted, FunctionType)
