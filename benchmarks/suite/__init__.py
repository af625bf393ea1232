"""The benchmark: Flask-WAMP and other Python clients. ``tox -e bench``, or ``python -m benchmarks.suite``.

``stand_in`` is a router with very low cost; ``contestants`` lists the clients, and ``clients/`` is one
program for each. ``callees``, ``callers``, ``crossbar``, ``growth``, ``footprint``, ``routers`` and
``tests`` are the parts. ``servers``, ``crowd``, ``starting`` and ``idle`` belong to ``routers``.
``results`` makes the tables, and ``page`` puts them into docs/benchmarks.rst.
"""
