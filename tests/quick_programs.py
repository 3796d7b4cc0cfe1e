"""What lets programs be compiled quickly: those of tests are tiny, and most of their time goes into compiling them."""

import importlib.metadata
import sys

# Not optimized; and where this release knows the older of two ways to emit fused loops, which compiles in half the time,
# and compiles each program in one piece: pieces for several threads are more work than they save here.
FLAGS = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

# Every size is a branch that is compiled, in values and in gradients: two thirds of a decoder's program.
# tests/models/test_attention.py takes those of the program.
KEYS = (256, 1024)


def few_sizes_of_attention() -> None:
    """Where attention is loaded it has few sizes from now on: other numbers of keys, most of them masked, same results."""
    attention = sys.modules.get("socsci_jax.models.attention")
    if attention is not None:
        attention.KEYS = KEYS
