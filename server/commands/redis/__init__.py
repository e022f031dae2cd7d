"""Commands that Redis has, as far as they have a meaning here, a file for each family.

Imports `commands`, what that imports, and `sockets`. Importing a family declares its commands.
"""
