"""The daemon of Timeline: the Redis protocol over TCP on top of the engine.

From the socket inwards: `daemon` starts and stops, `connection` is one client, `protocol` turns its
bytes into commands, `commands` carries them out, `pipeline` holds their replies until the commit
group is durable, `blocking` and `push` deliver to those who wait. Nothing here is needed by an
embedder.
"""
