"""What must hold in a store, a module for each relation.

It may import `snapshot` and what stands below `verification`.
"""
