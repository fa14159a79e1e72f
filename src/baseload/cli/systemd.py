"""What does systemd want to be told, where it is there?

A few words on a datagram socket whose name is in the environment: that this process serves, which
process is the main one now, that it reads its settings again. Without systemd nothing happens.
"""

import contextlib
import os
import socket
import time

ADDRESS = "NOTIFY_SOCKET"


def serving() -> None:
    """Tell that callers are served, by this process."""
    _tell(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving")


def reloading() -> None:
    """Tell that the fleet file is read again; `serving` ends it."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Tell that the service stops."""
    _tell("STOPPING=1\nSTATUS=draining")


def _tell(words: str) -> None:
    address = os.environ.get(ADDRESS, "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as pipe:
        pipe.connect("\0" + address[1:] if address.startswith("@") else address)
        pipe.sendall(words.encode())
