"""How JAX is set up before it computes."""

import jax
import pytest

from socsci_jax.compilation import WORTH_KEEPING, set_up_compiler


@pytest.mark.parametrize(("said", "wanted"), [("0.2", 0.2), (None, 1.0)])
def test_what_the_user_says_of_the_cache_is_left_as_it_is(monkeypatch, said, wanted):
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.delenv(WORTH_KEEPING)
    if said is not None:
        monkeypatch.setenv(WORTH_KEEPING, said)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    try:
        set_up_compiler()
        assert jax.config.jax_persistent_cache_min_compile_time_secs == wanted
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before)
