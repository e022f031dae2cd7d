"""The commands, a file for each family; importing one declares its commands."""
