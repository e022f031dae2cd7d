"""One commit: while it is made, and when it is applied.

It may import `lsm` and what stands below it. Making a commit changes nothing that readers see.
Applying it reads only its record and what earlier commits left, so a replay gives the same result.
"""
