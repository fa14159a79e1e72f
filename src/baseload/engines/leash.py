"""What holds an engine that knows nothing of us: it ends with its gateway, however that ends.

Run as `python -m baseload.engines.leash COMMAND …` in a session of its own. The parent holds the
other end of standard input; when that closes, the whole session's group is killed. A SIGTERM is
passed to the command alone, so that it can end its own children in its own way. How the command
ended is how this ends: the same exit code, the same signal.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Start the command and stay until it is gone, or until the parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Open answers must drain first.
    if select.select([sys.stdin], [], [], 0)[0]:
        os._exit(0)  # The parent is gone already.
    try:
        command = subprocess.Popen(  # noqa: S603 - the fleet file's owner says what is run
            sys.argv[1:],
            stdin=subprocess.DEVNULL,
            preexec_fn=_prepare,  # noqa: PLW1509 - there is no other thread yet
        )
    except OSError as error:
        os.write(2, f"cannot start {sys.argv[1]}: {error.strerror}\n".encode())
        os._exit(NOT_STARTED)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    code = command.wait()
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _prepare() -> None:
    """Have Linux kill the command if this process is killed alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass  # The parent never writes; only the end of the stream counts.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
