"""The daemon of Timeline: the Redis protocol over TCP and Unix sockets, on top of the engine.

Each folder is one part; a part imports only those above it in this list:

- `errors` what the daemon itself refuses;
- `logs` what it writes about itself;
- `sockets` where it listens, and how many files may be open;
- `wire` bytes into commands, and replies into bytes;
- `config` the options that it runs with;
- `registry` what is known of each command;
- `clients` what is known of each client, and how all share time and memory;
- `subscriptions` what clients are told without asking;
- `service` what all connections share;
- `commands` what each command does;
- `connection` one client's socket: its commands in order, its replies in order;
- `monitoring` what is told to those who run it;
- `daemon` starts and stops.

Nothing here is needed by an embedder.
"""
