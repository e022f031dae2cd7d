"""The states of a connection, and which may be together.

What its next command waits for (`_waits`), and what goes on with it:

| `_waits` | the next command waits for | goes on by |
|---|---|---|
| `NOTHING` | nothing: there is none | `data_received` |
| `TURN` | its turn, the last one being over | `turn`, from `Turns` |
| `GROUP` | what the client wrote: it reads, or many replies wait | `proceed`, from `Pipeline` |
| `ROOM` | room: it writes, and met BUSY | `proceed`, from `Pipeline` |
| `READER` | the client, which has yet to take what it asked for | `_taken`, from `Output` |
| `REPLY` | the one before: a blocked read, a search, a long reply | `proceed`, from `Waiters` |

How far the connection is (`_life`); it never goes back:

| `_life` | | socket is read | commands are carried out |
|---|---|---|---|
| `OPEN` | | unless enough waits | yes |
| `ENDED` | the client has sent its last, or the daemon stops | no | yes; then it closes |
| `CLOSING` | QUIT, or a fault in the protocol | no | no; it closes after the last reply |
| `GONE` | closed | no | no |

What may be set in each of these:

| | `OPEN` | `ENDED` | `CLOSING` | `GONE` |
|---|---|---|---|---|
| `_waits` | any | any | `NOTHING`, or a `TURN` in which nothing is done | `NOTHING` |
| `waiter` | if `_waits` is `REPLY` | if `_waits` is `REPLY` | no | until the socket is lost |
| `_fault` in the protocol | until it is answered | until it is answered | any | any |
| `_pending`, a group | any | any | any | until it is done |
| output waits | any | any | any | no |
"""

from __future__ import annotations

from typing import Final

NOTHING: Final = 0
TURN: Final = 1
GROUP: Final = 2
ROOM: Final = 3
READER: Final = 4
REPLY: Final = 5

OPEN: Final = 0
ENDED: Final = 1
CLOSING: Final = 2
GONE: Final = 3
