import pytest

# What an assertion says there is compared with what a cell is known to fail with.
pytest.register_assert_rewrite("tests.interop.features")
