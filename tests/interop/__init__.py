import pytest

# The text of a failed assertion is compared with the known failure of a cell.
pytest.register_assert_rewrite("tests.interop.features")
