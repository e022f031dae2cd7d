"""What is told to those who run the daemon: health and metrics over HTTP, and systemd.

Imports `service`, `registry`, `config`, `sockets` and `logs`.
"""
