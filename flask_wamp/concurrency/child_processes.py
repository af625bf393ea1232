"""Child processes that do not outlive their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import typing as t

#: Runs in place of the program for a moment.  ``PR_SET_PDEATHSIG`` outlives ``exec``; setting it
#: here and not in a ``preexec_fn`` is what makes it safe in a process that has threads.
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
    """Start a program that gets SIGTERM when this process ends, in whatever way.

    It runs in a session of its own, so that Ctrl-C at the terminal reaches this process only, which stops the
    program itself. The signal is Linux's ``PR_SET_PDEATHSIG``, which belongs to the **thread** that calls
    this: call it from the main thread, or from one that stays. On other systems the program goes on if this
    process is killed.

    :param command: The program's absolute path and its arguments.
    :param options: What :class:`subprocess.Popen` takes.
    """
    wrapper = [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid())]
    return subprocess.Popen([*wrapper, *command], start_new_session=True, **options)


def stop_process(
    process: subprocess.Popen[bytes], timeout: float, signum: int = signal.SIGTERM
) -> None:
    """Ask a program of :func:`spawn_bound` to end; kill what is left after ``timeout`` seconds."""
    if process.poll() is None:
        process.send_signal(signum)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout)
    kill_process(process)


def kill_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a program of :func:`spawn_bound` and its children."""
    # The session outlives its leader for as long as a child is left in it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def python_executable() -> str:
    """Return the path of this Python.

    In a server with a Python inside, such as uWSGI, ``sys.executable`` is the server.
    """
    if os.path.basename(sys.executable or "").startswith(("python", "pypy")):
        return sys.executable
    return os.path.join(sys.exec_prefix, "bin", "python3")
