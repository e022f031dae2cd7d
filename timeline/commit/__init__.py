"""One commit: in the making, and applied.

It may import `lsm` and what stands below it. Making a commit changes nothing that readers see;
applying it reads nothing but the record and what earlier commits left, so a replay gives the same.
"""
