"""Where compiled programs are kept between runs: XLA takes seconds to minutes for each, and a run repeats them."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "JAX_COMPILATION_CACHE_DIR"


def keep_compiled_programs() -> Path:
    """Turns on JAX's persistent compilation cache, in the folder of JAX's own variable or the user's cache."""
    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get(ENVIRONMENT) or cache / "socsci_jax" / "xla")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    return folder
