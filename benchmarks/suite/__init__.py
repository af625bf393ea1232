"""The benchmark: ours beside its Python peers. ``tox -e bench``, or ``python -m benchmarks.suite``.

``stand_in`` is the router that costs next to nothing; ``contestants`` says who takes part, and
``clients/`` is one program for each. ``callees``, ``callers``, ``crossbar``, ``growth`` and
``footprint`` are the parts; ``results`` makes the tables.
"""
