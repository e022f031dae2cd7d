"""Commands that Redis has, as far as they have a meaning here, a file for each family.

Imports `commands` and what it imports. Importing a family declares its commands.
"""
