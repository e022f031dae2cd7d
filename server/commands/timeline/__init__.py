"""Commands that Redis does not have, a file for each family.

Imports `commands`, and what that imports. Importing a family declares its commands.
"""
