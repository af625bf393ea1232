"""Holders of leaked objects: the chains of references to them from a living object."""

from __future__ import annotations

import collections
import gc
import sys
import threading
import types
import typing as t

DEEPEST = 30
"""The maximum number of references in a chain."""

MOST = 20
"""The maximum number of objects of each class that are searched, because that takes time."""

_ROOTS = types.ModuleType, type, threading.Thread


def ways_to(wanted: t.Callable[[object], bool], living: t.Collection[object] = ()) -> list[str]:
    """Return the shortest way to each object that is wanted: the holder first, and the object last.

    A way begins at a module, a class, a thread, a local variable of a running function, or one of ``living``.
    A cycle of garbage is not a way. References from C code and from intermediate values of a function are not
    found. Ways with the same text are counted.

    :param living: Objects that are right to exist. They are not looked for.
    """
    roots = {id(each) for each in living}
    by_class = collections.defaultdict(list)
    for each in gc.get_objects():
        if wanted(each) and id(each) not in roots:
            by_class[type(each)].append(each)
    found = [each for kind in by_class.values() for each in kind[-MOST:]]  # the latest come last
    variables = _variables()
    ways = collections.Counter(_way_to(each, roots, variables) for each in found)
    return [f"{way} ({count} of these)" for way, count in ways.most_common()]


def _way_to(target: object, roots: set[int], variables: dict[int, str]) -> str:
    ways: dict[int, tuple[str, ...]] = {id(target): (_name(target),)}
    level = [target]
    for _ in range(DEEPEST):
        for each in level:
            way = ways[id(each)]
            if id(each) in roots or isinstance(each, _ROOTS):
                return " -> ".join(way)
            if id(each) in variables:
                return " -> ".join((variables[id(each)], *way))
        level = _referrers(level, ways)
    return f"{_name(target)}, which nothing holds that the garbage collector knows"


def _referrers(level: list[object], ways: dict[int, tuple[str, ...]]) -> list[object]:
    """Return the new objects that refer to those of a level, and record their references."""
    ids = {id(each): each for each in level}
    found = []
    for each in gc.get_referrers(*level):
        if each is level or each is ids or id(each) in ways or _is_own(each):
            continue
        child = next((one for one in gc.get_referents(each) if id(one) in ids), None)
        if child is not None:
            step, rest = _edge(each, child), ways[id(child)]
            if getattr(each, "__dict__", None) is child:  # which is not a separate step
                step, rest = "." + rest[0].removeprefix("dict['").removesuffix("']"), rest[1:]
            ways[id(each)] = (_name(each) + step, *rest)
            found.append(each)
    return found


def _is_own(thing: object) -> bool:
    return isinstance(thing, types.FrameType) and thing.f_globals is globals()


def _name(thing: object) -> str:
    if isinstance(thing, types.ModuleType | type):
        return thing.__name__
    if isinstance(thing, threading.Thread):
        return f"thread {thing.name}"
    if isinstance(thing, types.MethodType | types.FunctionType):
        return thing.__qualname__
    if isinstance(thing, types.FrameType):
        return f"frame of {thing.f_code.co_name}"
    return type(thing).__qualname__


def _edge(holder: object, child: object) -> str:
    """Describe how one object refers to another: ``['key']`` or ``.attribute``; empty if unknown."""
    if isinstance(holder, dict):
        keys = (key for key, value in holder.items() if value is child)
        return f"[{next(keys, '?')!r:.60}]"
    slots = [name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ())]
    names = [*getattr(holder, "__dict__", ()), *slots]
    return next((f".{name}" for name in names if getattr(holder, name, None) is child), "")


def _variables() -> dict[int, str]:
    """Return the local variables of functions that run in threads and greenlets, by the id of the value."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    tops = [(names.get(ident, "?"), frame) for ident, frame in sys._current_frames().items()]
    for each in gc.get_objects():
        if type(each).__name__.lower() == "greenlet":
            tops.append((f"{each!r:.60}", getattr(each, "gr_frame", None)))
    found: dict[int, str] = {}
    for name, top in tops:
        frame: types.FrameType | None = top
        while frame is not None:
            if not _is_own(frame):
                where = f"{name}, {frame.f_code.co_name}"
                found.update(
                    {id(value): f"{where}: {key}" for key, value in frame.f_locals.items()}
                )
            frame = frame.f_back
    return found
