"""Arrays that stand for a run's state, on any number of devices, and damage to what was saved of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from socsci_jax.models.sharding import make_mesh


def arrays(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "matrix": rng.normal(size=(24, 40)).astype(np.float32),
        "half": jnp.asarray(rng.normal(size=(8, 16)), jnp.bfloat16),
        "step": np.int32(7),
    }


def placed(tree, *, devices: int = 1):
    mesh = make_mesh(data=devices, fsdp=1, tensor=1, devices=jax.devices()[:devices])

    def put(a):
        spec = PartitionSpec("data") if np.ndim(a) else PartitionSpec()
        return jax.device_put(a, NamedSharding(mesh, spec))

    return jax.tree.map(put, tree)


def abstract(tree):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), tree)


def flip_a_byte(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
