"""A process that runs background tasks, and how it finds the app of its parent.

:mod:`.processes` runs this file, and does not import it. It imports only the standard library before the app,
because an app may monkey-patch first.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import types
import typing as t

#: The name of this module in ``sys.modules`` of such a process. Other processes do not have it.
NAME = "flask_wamp_task_process"

#: The name of the parent's main module in this process, as in :mod:`multiprocessing`. So code below
#: ``if __name__ == "__main__"`` does not run.
MAIN = "__mp_main__"

#: Seconds that an idle process may take to end by itself after its parent has ended.
PATIENCE = 5.0

_LENGTH = struct.Struct("!Q")


Main = tuple[str | None, str | None]
"""The name of the main module, if it was run with ``-m``, and the path of its file."""


class Setup(t.NamedTuple):
    """The setup of a process. It has only plain values, because it is read before anything is imported."""

    argv: list[str]
    main: Main
    import_name: str
    """The app's ``import_name``."""
    attribute: tuple[str, str] | None
    """The module and attribute that contain the app, if there is one."""
    import_path: str | None
    """The import path with which the server finds the app, such as ``module:create_app()``."""


class TaskEnd(t.NamedTuple):
    """The outcome of a task."""

    error: bytes | None
    """The pickled exception, if the task failed and the exception can be pickled."""
    traceback: str
    """Empty if the task did not fail."""
    added: list[tuple[str, bytes]]
    """The tasks that the task has added. Each has an executor and the bytes for :func:`load`."""


def describe(app: t.Any, main: Main, import_path: str | None) -> Setup:
    """Return the setup with which another process can find an app. The parent calls this."""
    return Setup(
        list(sys.argv),
        main,
        app.import_name,
        _attribute(app),
        import_path or os.environ.get("FLASK_APP"),
    )


def describe_main() -> Main:
    """Return the parent's main module. In an interactive session, or after its end, it has no file."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    return spec.name if spec is not None else None, os.path.abspath(file) if file else None


def _attribute(app: t.Any) -> tuple[str, str] | None:
    for name in (app.import_name, "__main__", *list(sys.modules)):
        module = sys.modules.get(name)
        if isinstance(module, types.ModuleType):
            for attribute, value in list(vars(module).items()):
                if value is app:
                    return name, attribute
    return None


# Messages consist of a length of 8 bytes, and a pickle. An empty message means that a task has started.


def send(channel: socket.socket, data: bytes) -> None:
    """Send a message."""
    channel.sendall(_LENGTH.pack(len(data)) + data)


def receive(channel: socket.socket) -> bytes | None:
    """Receive a message. Return None if the other process has ended."""
    head = _receive(channel, _LENGTH.size)
    return None if head is None else _receive(channel, _LENGTH.unpack(head)[0])


def _receive(channel: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            part = channel.recv(min(size - len(data), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> t.Any:
        if module in ("__main__", MAIN):
            module = main_module()
        return super().find_class(module, name)


def load(data: bytes) -> t.Any:
    """Unpickle data from the parent or a child.

    Names in the main module of the other process are looked up in the main module of this process.
    """
    return _Unpickler(io.BytesIO(data)).load()


#: The parent's main module, in a process for tasks. See :class:`Setup`.
_parents_main: Main | None = None


def main_module() -> str:
    """Return the name under which the main module of the app is loaded. Load it if necessary."""
    if _parents_main is None:
        return "__main__"
    if MAIN not in sys.modules:
        _load_main(*_parents_main)
    return MAIN


def _load_main(name: str | None, file: str | None) -> None:
    module = types.ModuleType(MAIN)
    spec = importlib.util.find_spec(name) if name not in (None, "__main__") else None
    if spec is not None:  # for python -m package.module, whose relative imports need the package
        module.__spec__, module.__package__, file = spec, spec.parent, spec.origin
    if file is None:
        raise ImportError("the main module of the app has no file")
    module.__file__ = file
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    sys.modules[MAIN] = sys.modules["__main__"] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[MAIN]
        raise


# In the process for tasks.


def main(fd: int) -> None:
    """Run tasks until the parent has ended.

    :param fd: The socket to the parent.
    """
    global _parents_main
    os.set_inheritable(fd, False)
    ours = [
        fd
    ]  # closed in a process that a task forks, so that the parent notices the end of this process
    os.register_at_fork(after_in_child=lambda: os.close(ours.pop()) if ours else None)
    with socket.socket(fileno=fd) as channel:
        channel.setblocking(True)  # gevent in the parent has made both ends non-blocking
        process = _Process(fd)
        received = receive(channel)
        if received is None:
            return
        setup = Setup(*pickle.loads(received))
        sys.argv[:] = setup.argv
        _parents_main = setup.main
        try:
            with _no_server():
                app = find_app(setup)
        except BaseException as error:
            send(channel, answer(error))
            return
        fd = channel.detach()
    # Create a new object, because the app may have monkey-patched the class.
    with socket.socket(fileno=fd) as channel:
        process.serve(app, channel)


@contextlib.contextmanager
def _no_server() -> t.Iterator[None]:
    """Let Flask ignore ``app.run()``, as ``flask run`` does, because ``__name__`` may not guard it."""
    name = "FLASK_RUN_FROM_CLI"
    before = os.environ.get(name)
    os.environ[name] = "true"
    yield
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before


class _Process:
    """Runs one task after another. Ends when its parent ends, even in the middle of a task.

    SIGINT is ignored, because the parent handles it and drains. SIGTERM, which systemd sends to all processes
    of a service, ends it when no task is running.
    """

    def __init__(self, fd: int) -> None:
        self._waiting = False
        self._leaving = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._leave)
        # This is always a real thread, because it starts before anything is patched. A greenlet would not run
        # while a task computes.
        threading.Thread(target=self._watch, args=(fd,), name="parent", daemon=True).start()

    def serve(self, app: t.Any, channel: socket.socket) -> None:
        """Run the tasks that arrive."""
        self._waiting = True
        while True:
            job = receive(channel)
            if job is None:
                return
            self._waiting = False
            send(channel, b"")
            send(channel, run(app, job))
            self._waiting = True
            if self._leaving:
                return

    def _leave(self, signum: int, frame: types.FrameType | None) -> None:
        self._leaving = True
        if self._waiting:  # in serve(), so the app and this package are imported
            from flask_wamp.concurrency.interruption import raise_in_main_greenlet

            raise_in_main_greenlet(SystemExit())

    def _watch(self, fd: int) -> None:
        hangup = select.poll()
        hangup.register(fd, 0)
        ended = threading.Event()
        hangup.poll()
        if self._waiting:  # the main thread notices it too, and ends
            ended.wait(PATIENCE)
        os._exit(1)


def run(app: t.Any, job: bytes) -> bytes:
    """Run one task. Return the pickled :class:`TaskEnd`."""
    from flask_wamp.tasks.task import Batch, perform

    added: list[t.Any] = []
    try:
        function, args, kwargs, message = load(job)
    except BaseException as failure:
        error: BaseException | None = failure
    else:
        batch = Batch(message)
        error = perform(app, function, args, kwargs, batch)
        added = batch.tasks if error is None else []
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return answer(error, [(task.executor, task.call) for task in added])


def answer(error: BaseException | None, added: t.Sequence[t.Any] = ()) -> bytes:
    """Return the pickled :class:`TaskEnd`."""
    text = "" if error is None else "".join(traceback.format_exception(error))
    return pickle.dumps(tuple(TaskEnd(_pickled(error), text, list(added))))


def _pickled(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    try:
        data = pickle.dumps(error)
        load(data)
    except Exception:
        return None
    return data


# The app.


def find_app(setup: Setup) -> t.Any:
    """Import the app, or create it in the same way as the server.

    :raises RuntimeError: There is no app. The text says what to do.
    """
    failures: list[Exception] = []
    for find in (_by_attribute, _by_import_path, _in_module):
        try:
            app = find(setup)
        except Exception as error:
            failures.append(error)
            continue
        if app is not None and app.import_name.replace(MAIN, "__main__") == setup.import_name:
            return app
    raise RuntimeError(
        f"a process for background tasks cannot find the app {setup.import_name!r}. Make it an attribute "
        "of a module, add a factory create_app() without arguments to that module, or set FLASK_APP to "
        "'module:create_app(...)'"
    ) from (failures[0] if failures else None)


def _by_attribute(setup: Setup) -> t.Any:
    if setup.attribute is None:
        return None
    module, attribute = setup.attribute
    return getattr(_module(module), attribute, None)


def _by_import_path(setup: Setup) -> t.Any:
    if setup.import_path is None:
        return None
    from flask.cli import ScriptInfo

    return ScriptInfo(app_import_path=setup.import_path, set_debug_flag=False).load_app()


def _in_module(setup: Setup) -> t.Any:
    from flask.cli import find_best_app

    return find_best_app(_module(setup.import_name))


def _module(name: str) -> types.ModuleType:
    return importlib.import_module(main_module() if name == "__main__" else name)
