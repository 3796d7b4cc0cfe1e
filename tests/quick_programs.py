"""XLA's flags for tests: their programs are tiny, and most of their time goes into compiling them."""

import importlib.metadata

# Not optimized; and where this release knows the older of two ways to emit fused loops, which compiles in half the time.
FLAGS = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
