"""Verification and repair.

`verify` checks a store, or a backup, and reads only. `repair` makes a sound store from the
undamaged parts of a damaged one. Both return findings, which the command line prints.
"""

from timeline.verification.repair import Repair, repair, repair_in_place
from timeline.verification.snapshot.findings import Finding, Report
from timeline.verification.verify import verify

__all__ = ["Finding", "Repair", "Report", "repair", "repair_in_place", "verify"]
