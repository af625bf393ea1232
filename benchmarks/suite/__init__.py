"""The benchmark: ours beside its Python peers. ``tox -e bench``, or ``python -m benchmarks.suite``.

``stand_in`` is the router that costs next to nothing; ``contestants`` says who takes part, and
``clients/`` is one program for each. ``callees``, ``callers``, ``crossbar``, ``growth``, ``footprint`` and
``routers`` are the parts; the last one has ``servers``, ``crowd``, ``starting`` and ``idle`` to itself.
``results`` makes the tables, and ``page`` puts them into docs/benchmarks.rst.
"""
