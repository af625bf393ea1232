"""Child processes that do not outlive their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import typing as t

#: Runs in the child before the program. ``PR_SET_PDEATHSIG`` stays set after ``exec``. It is not set in a
#: ``preexec_fn``, because that is not safe in a process with threads.
_BOUND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn_bound(command: t.Sequence[str], **options: t.Any) -> subprocess.Popen[bytes]:
    """Start a program that gets SIGTERM when this process ends, even if this process is killed.

    The program runs in its own session. Ctrl-C at the terminal therefore reaches only this process, which
    then stops the program.

    Linux sends the signal (``PR_SET_PDEATHSIG``) when the **thread** that called this function ends. So call
    it from the main thread, or from another thread that does not end before the program. On other systems,
    the program continues to run if this process is killed.

    :param command: The program's absolute path and its arguments.
    :param options: What :class:`subprocess.Popen` takes.
    """
    wrapper = [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid())]
    return subprocess.Popen([*wrapper, *command], start_new_session=True, **options)


def stop_process(
    process: subprocess.Popen[bytes], timeout: float, signum: int = signal.SIGTERM
) -> None:
    """Send a signal to a program of :func:`spawn_bound`.

    Kill it and its children after ``timeout`` seconds.
    """
    if process.poll() is None:
        process.send_signal(signum)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout)
    kill_process(process)


def kill_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a program of :func:`spawn_bound` and its children."""
    # The process group exists until the last child has ended, even after the program itself has.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def python_executable() -> str:
    """Return the path of this Python.

    In a server that embeds Python, such as uWSGI, ``sys.executable`` is the server.
    """
    if os.path.basename(sys.executable or "").startswith(("python", "pypy")):
        return sys.executable
    return os.path.join(sys.exec_prefix, "bin", "python3")
