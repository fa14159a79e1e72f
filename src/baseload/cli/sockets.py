"""Where do the sockets that callers and operators connect to come from?

From the fleet file's addresses, as a rule. But a socket outlives the process that opened it as long
as somebody holds it: whoever connects meanwhile waits in its line and is not refused. So a process
that takes over from another is handed its open sockets, and systemd may hold them while there is no
process at all (socket activation). What was handed over is used only if it is what the fleet file
says; the rest is closed.

Several workers have a socket each for the same port, and the kernel spreads new connections over
them by a hash (SO_REUSEPORT). One socket for all gives each connection to whoever is awake first:
as even under load, but not for connections that are kept, which come slowly and stay. All sockets
are held here, too, so that one whose worker died still collects callers for the next.

Not here: when to hand over (`succession`), and what is done with connections (`gateway`).
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Any

import msgspec

from baseload.config.addresses import parse_address
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError

BACKLOG = 4096
"""Connects that the kernel may hold: 128 overflows at a burst of a thousand, for a second."""
HANDOVER = "BASELOAD_HANDOVER"
"""The variable with which a process tells its successor what it gets."""
FIRST_FD = 3
"""systemd's first socket."""


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What a process leaves its successor. Sockets are told by their numbers, which it inherits."""

    listen: str
    """The address as the fleet file had it, for which `listen_fds` were opened."""
    admin: str
    listen_fds: list[list[int]]
    """For each worker its own, all for the one address."""
    admin_fds: list[int]
    ready_fd: int
    """Where the successor says that it is ready: the writing end of a pipe."""
    orders: dict[str, str] = {}
    """Backends that operators have closed."""


class Sockets:
    """The open sockets of a process, before and while they are served."""

    def __init__(self, listen: list[list[socket.socket]], admin: list[socket.socket]) -> None:
        self.listen, self.admin = listen, admin
        """Those of callers are in as many sets as there are workers, or fewer."""

    def all_listening(self) -> list[socket.socket]:
        """Give every socket of callers."""
        return [one for group in self.listen for one in group]

    def of_worker(self, index: int, count: int) -> list[socket.socket]:
        """Give the sockets of one of `count` workers: each set is somebody's."""
        sets = len(self.listen)
        if sets < count:
            return self.listen[index % sets]  # Somebody else opened them: they are shared.
        return [one for at in range(index, sets, count) for one in self.listen[at]]

    def close(self) -> None:
        """Hold them no longer: whoever serves one has a copy of its own."""
        for one in [*self.all_listening(), *self.admin]:
            one.close()
        self.listen, self.admin = [], []


def copies(sockets: list[socket.socket]) -> list[socket.socket]:
    """Give sockets of the same ports for somebody who will close them."""
    return [one.dup() for one in sockets]


def left_to_us(env: MutableMapping[str, str]) -> Handover | None:
    """Take what a predecessor left, if there is one. No child of ours shall find it, too."""
    text = env.pop(HANDOVER, None)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Handover)
    except msgspec.MsgspecError as error:
        raise BaseloadError(f"{HANDOVER} is for baseload itself; unset it ({error})") from error


def have_sockets(
    fleet: Fleet, left: Handover | None, env: MutableMapping[str, str], workers: int = 1
) -> Sockets:
    """Give the sockets for a fleet's addresses: inherited ones where they fit, or new ones."""
    listen: list[list[socket.socket]] = []
    admin: list[socket.socket] = []
    if left is not None:
        is_wanted = left.listen == fleet.listen
        listen = [taken for fds in left.listen_fds if (taken := _taken(fds, is_wanted=is_wanted))]
        admin = _taken(left.admin_fds, is_wanted=left.admin == fleet.admin)
    else:
        given, admin = _from_systemd(fleet, env)
        listen = [given] if given else []
    sockets = Sockets(listen, admin)
    try:
        if not listen:
            sockets.listen.append(_opened("listen", fleet.listen, is_shared=workers > 1))
            if workers > 1:
                _add(sockets.listen, workers)
        sockets.admin = admin or _opened("admin", fleet.admin)
    except BaseloadError:
        sockets.close()
        raise
    return sockets


def _taken(fds: list[int], *, is_wanted: bool) -> list[socket.socket]:
    sockets = [socket.socket(fileno=fd) for fd in fds]
    for one in sockets:
        one.set_inheritable(False)
        if not is_wanted:
            one.close()
    return sockets if is_wanted else []


def _from_systemd(
    fleet: Fleet, env: MutableMapping[str, str]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Take sockets that systemd opened: the operators' by its name `admin` or its port."""
    count, names = env.pop("LISTEN_FDS", "0"), env.pop("LISTEN_FDNAMES", "").split(":")
    listen: list[socket.socket] = []
    admin: list[socket.socket] = []
    if env.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdigit():
        return listen, admin
    admin_port = parse_address(fleet.admin)[1]
    for at, one in enumerate(_taken([FIRST_FD + at for at in range(int(count))], is_wanted=True)):
        one.setblocking(False)
        name = names[at] if at < len(names) else ""
        is_admin = name == "admin" or (name != "listen" and one.getsockname()[1] == admin_port)
        (admin if is_admin else listen).append(one)
    return listen, admin


def _add(sets: list[list[socket.socket]], count: int) -> None:
    """Open more sockets for the ports of the first set, until there are so many sets."""
    while len(sets) < count:
        sets.append([])
        for like in sets[0]:
            sets[-1].append(_bound(like.family, like.getsockname(), is_shared=True))


def _bound(family: int, where: Any, *, is_shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # For those who come in by it: uvloop does this for each of them, asyncio's loop does not.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(where)
        one.setblocking(False)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _opened(field: str, address: str, *, is_shared: bool = False) -> list[socket.socket]:
    """Open all sockets of an address; a name may stand for several."""
    host, port = parse_address(address)
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, where in dict.fromkeys(found):
            if is_shared and port:
                # Two gateways that share a port by mistake would each get a part of the callers.
                _bound(family, where, is_shared=False).close()
            sockets.append(_bound(family, where, is_shared=is_shared))
    except OSError as error:
        for one in sockets:
            one.close()
        reason = error.strerror or str(error)
        text = f"cannot be listened on: {reason}; is another one running there?"
        raise BaseloadError(f"`{field}: {address}` {text}") from error
    return sockets
