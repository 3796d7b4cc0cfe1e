"""The GPU attention's kernels, interpreted by Triton: prints how far they are from the rule for heads of so many features."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import torch

from socsci_jax.models import attention_gpu_kernels
from socsci_jax.models.attention_choice import dense_attention
from socsci_jax.models.attention_gpu import blocks, kernel_attention
from socsci_jax.models.triton_call import Launch


def interpreted(launch: Launch, *arrays: jax.Array) -> list[jax.Array]:
    def run(*arrays: jax.Array) -> list[np.ndarray]:
        given = [torch.from_numpy(np.array(x)) for x in arrays]
        # What a kernel leaves unwritten is seen.
        results = [torch.full(x.shape, torch.nan) for x in launch.results]
        kernel = getattr(attention_gpu_kernels, launch.kernel)
        kernel[launch.grid](*given, *results, **dict(launch.constants))
        return [x.numpy() for x in results]

    return jax.pure_callback(run, list(launch.results), *arrays)


def apart(features: int) -> list[float]:
    """Of what is mixed, and the gradients of q, k and v, as a share of the largest number."""
    rng = np.random.default_rng(0)
    tokens, heads, shared = 192, 1, 2
    end = np.zeros((1, tokens), np.int32)
    end[0, :100] = 180  # a prefix, of which the first block is seen whole by the last block but one
    end[0, 100:180] = [130] * 30 + [180] * 50
    every = np.arange(tokens, dtype=np.int32)[None]
    at = every[:, 20:148]
    q, weight = rng.normal(size=(2, *at.shape, heads, shared, features)).astype(np.float32)
    k, v = rng.normal(size=(2, 1, tokens, heads, features)).astype(np.float32)
    see = blocks(jnp.asarray(at), jnp.asarray(end))
    assert 0 < see.whole_keys.sum() < see.key_count.sum() < see.keys.size

    def results(attend) -> list[jax.Array]:
        mixed, gradients = jax.vjp(attend, q, k, v)
        return [mixed, *gradients(jnp.asarray(weight))]

    found = results(lambda q, k, v: kernel_attention(q, k, v, see, interpreted))
    wanted = results(lambda q, k, v: dense_attention(q, k, v, at, end))
    return [float(abs(a - b).max() / abs(b).max()) for a, b in zip(found, wanted, strict=True)]


if __name__ == "__main__":
    print(json.dumps({f"width {features}": apart(features) for features in map(int, sys.argv[1:])}))
