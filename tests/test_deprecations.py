"""What is about to be dropped from a library fails the tests where our code uses it, and nowhere else."""

import warnings

import pytest


@pytest.mark.parametrize("kind", [DeprecationWarning, FutureWarning])
@pytest.mark.parametrize("module", ["socsci_jax.models.decoder", "data_pipelines.formats.tables"])
def test_a_deprecated_call_of_our_code_fails(module, kind):
    with pytest.raises(kind, match="old"):
        warnings.warn_explicit("old", kind, "file.py", 1, module=module)


@pytest.mark.parametrize("kind", [DeprecationWarning, FutureWarning])
def test_a_deprecated_call_within_a_library_does_not(kind):
    warnings.warn_explicit("old", kind, "file.py", 1, module="flax.nnx")
