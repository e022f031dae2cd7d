"""Verification and repair: whether a store is what it says it is, and what can be had of one that
is not. `verify` reads only; `repair` makes another store. The command line prints what they say.
"""

from timeline.verification.repair import Repair, repair, repair_in_place
from timeline.verification.snapshot.findings import Finding, Report
from timeline.verification.verify import verify

__all__ = ["Finding", "Repair", "Report", "repair", "repair_in_place", "verify"]
