"""What is about to be dropped from a library fails the tests where our code uses it, and nowhere else."""

import warnings

import pytest


@pytest.mark.parametrize("module", ["socsci_jax.models.decoder", "data_pipelines.formats.tables"])
def test_a_deprecated_call_of_our_code_fails(module):
    with pytest.raises(DeprecationWarning, match="old"):
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module=module)


def test_a_deprecated_call_within_a_library_does_not():
    warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module="flax.nnx")
