"""What must hold in a store, a module for each relation between its parts.

Each module opens with the relation that it checks, and an example of what breaks it. It may import
`snapshot` and what stands below `verification`.
"""
