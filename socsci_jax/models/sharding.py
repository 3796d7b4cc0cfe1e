"""Where arrays live on the devices: the one table, and the only place with PartitionSpecs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import BLOCKS, axis_size, nested, parameter_axes
from socsci_jax.wording import counted

MeshAxes = tuple[str, ...]


@dataclass(frozen=True)
class ShardingRules:
    """Logical axis -> mesh axes. `()` means that every device holds it all, on purpose.

    data: each group of devices takes other rows of prompt trees; fsdp: the same, and parameters are cut along it and
    gathered layer by layer; tensor: heads, MLP columns and vocabulary are split, every device sees every row.
    """

    row: MeshAxes = ("data", "fsdp")
    vocab: MeshAxes = ("tensor",)
    embed: MeshAxes = ("fsdp",)
    heads: MeshAxes = ("tensor",)
    kv_heads: MeshAxes = ("tensor",)
    mlp: MeshAxes = ("tensor",)
    layers: MeshAxes = ()
    # Of an adapter: a few dozen numbers.
    rank: MeshAxes = ()
    # Normalization weights are a few thousand numbers: cutting them would cost more than it saves.
    norm: MeshAxes = ()
    head_norm: MeshAxes = ()

    def spec(self, axes: Sequence[str | None]) -> PartitionSpec:
        """`None` is an axis that has no name because it is never cut (tokens, features of an activation)."""
        return PartitionSpec(*(self._of(axis) or None for axis in axes))

    def _of(self, axis: str | None) -> MeshAxes:
        # Scales of a base in four bits: a sixteenth of it, whole on every device along the inputs.
        return () if axis is None or axis.startswith(BLOCKS) else vars(self)[axis]


RULES = ShardingRules()


def make_mesh(*, data: int, fsdp: int, tensor: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh of `data * fsdp * tensor` devices (default: all there are)."""
    devices = jax.devices() if devices is None else devices
    sizes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    if min(sizes.values()) < 1 or data * fsdp * tensor != len(devices):
        raise InputError(
            f"parallelism: data {data} x fsdp {fsdp} x tensor {tensor} is {data * fsdp * tensor}, but there "
            f"are {counted(len(devices), 'device')}; give sizes of at least 1 whose product is {len(devices)}"
        )
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes), devices=devices
    )


def local_mesh(*, data: int | None = None, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """Mesh of this process's own devices: `data` groups of `fsdp * tensor`, by default as many as there are devices for.

    Raises InputError for sizes that this process has no devices for.
    """
    devices = jax.local_devices()
    if min(fsdp, tensor) < 1 or (data is None and len(devices) % (fsdp * tensor)):
        raise InputError(
            f"`fsdp={fsdp}` x `tensor={tensor}` does not divide the {counted(len(devices), 'device')}; give sizes of at least "
            "1 whose product does."
        )
    if data is None:
        data = len(devices) // (fsdp * tensor)
    if not 1 <= data * fsdp * tensor <= len(devices):
        raise InputError(
            f"`data={data}` x `fsdp={fsdp}` x `tensor={tensor}` is {data * fsdp * tensor}; give sizes of at least 1 whose "
            f"product is at most {len(devices)}, the number of devices."
        )
    return make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=devices[: data * fsdp * tensor])


def param_shardings(config: DecoderConfig, mesh: Mesh) -> Any:
    """NamedSharding of every parameter, as the pytree of the parameters.

    Raises InputError if a dimension does not divide: no parameter is replicated because it does not fit.
    """
    # Heads are cut between heads, never within one.
    units = {"heads": config.num_attention_heads, "kv_heads": config.num_key_value_heads}
    shardings = {}
    for path, axes in parameter_axes(config).items():
        for dimension, axis in enumerate(axes):
            size = units.get(axis, axis_size(config, axis))
            what = f"{'.'.join(path)}, dimension {dimension} ({axis})"
            _check_divides(mesh, axis, size, what=what)
        shardings[path] = NamedSharding(mesh, RULES.spec(axes))
    return nested(shardings)


def batch_sharding(mesh: Mesh, *, rows: int) -> NamedSharding:
    """Sharding of every batch array [rows, ...]: whole rows of prompt trees, spread over data and fsdp."""
    _check_divides(mesh, "row", rows, what="batch, dimension 0 (rows)")
    return NamedSharding(mesh, RULES.spec(("row",)))


def micro_batch_sharding(mesh: Mesh, *, rows: int) -> NamedSharding:
    """Sharding of batch arrays [micro-batches, rows, ...]: every device has its rows of each micro-batch."""
    _check_divides(mesh, "row", rows, what="batch, dimension 1 (rows of a micro-batch)")
    return NamedSharding(mesh, RULES.spec((None, "row")))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def one_per_device(mesh: Mesh) -> NamedSharding:
    """Sharding of an array [devices], of which each device holds the element that is its own."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Fix where an activation lives, inside `jax.jit` under `jax.set_mesh(mesh)`; without a mesh, x itself."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, RULES.spec(axes))


def per_device(function: Callable[..., Any], *, inputs: Sequence[Any], output: Any) -> Callable[..., Any]:
    """`function` on each device's own part of its arrays; without a mesh, `function` itself.

    Inputs and output are logical axes, one tuple of names for each array, or NamedTuples or lists of such.  Where the
    cut axes do not mix (rows and heads in attention) no communication is needed; else `function` says what is communicated.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return function

    def specs(axes: Any) -> Any:
        if isinstance(axes, list):
            return tuple(map(specs, axes))
        return type(axes)(*map(specs, axes)) if hasattr(axes, "_fields") else RULES.spec(axes)

    # Every mesh axis cuts the output or leaves it equal, so there is no replication that the check could find
    # wrong; it would only ask a hand-written derivative to declare over which axes its sums vary.
    return jax.shard_map(
        function, in_specs=tuple(map(specs, inputs)), out_specs=specs(output), check_vma=False
    )


def parts(axis: str) -> int:
    """Into how many parts a logical axis is cut; 1 without a mesh."""
    return math.prod(jax.sharding.get_abstract_mesh().shape[name] for name in _cut(axis))


def _cut(axis: str) -> MeshAxes:
    """The mesh axes that cut a logical axis into more than one part."""
    mesh = jax.sharding.get_abstract_mesh()
    return () if mesh.empty else tuple(name for name in RULES._of(axis) if mesh.shape[name] > 1)


# What devices tell each other within `per_device`; each is the identity where the axis is not cut.


def sum_over(x: jax.Array, axis: str, *, but: str | None = None) -> jax.Array:
    """Sum of x over the devices that hold other parts of a logical axis, those of the axis `but` apart."""
    axes = tuple(name for name in _cut(axis) if but is None or name not in _cut(but))
    return jax.lax.psum(x, axes) if axes else x


def max_over(x: jax.Array, axis: str) -> jax.Array:
    return jax.lax.pmax(x, _cut(axis)) if _cut(axis) else x


def sum_scattered(x: jax.Array, axis: str, *, dimension: int) -> jax.Array:
    """Sum of x over the devices along `axis`, of which each keeps its part of `dimension`."""
    if not _cut(axis):
        return x
    return jax.lax.psum_scatter(x, _cut(axis), scatter_dimension=dimension, tiled=True)


def gather_over(x: jax.Array, axis: str, *, dimension: int) -> jax.Array:
    """The parts of x that the devices along `axis` hold, one after the other along `dimension`."""
    return jax.lax.all_gather(x, _cut(axis), axis=dimension, tiled=True) if _cut(axis) else x


def exchange_over(x: jax.Array, axis: str, *, split: int, join: int) -> jax.Array:
    """Gives every device along `axis` its part of the dimension `split`, and joins what it gets along `join`."""
    return jax.lax.all_to_all(x, _cut(axis), split, join, tiled=True) if _cut(axis) else x


def own_part(index: jax.Array, axis: str, *, size: int) -> tuple[jax.Array, jax.Array]:
    """Where an index into `axis` lies in this device's part of `size`, and whether it does."""
    if not _cut(axis):
        return index, jnp.ones_like(index, bool)
    index = index - jax.lax.axis_index(_cut(axis)) * size
    own = (index >= 0) & (index < size)
    return jnp.where(own, index, 0), own


def _check_divides(mesh: Mesh, axis: str, size: int, *, what: str) -> None:
    mesh_axes = RULES._of(axis)
    pieces = math.prod(mesh.shape[name] for name in mesh_axes)
    if size % pieces:
        fits = [n for n in range(1, len(mesh.devices.flat) + 1) if size % n == 0]
        raise InputError(
            f"parallelism: {what} has {size} parts, which mesh axis {' x '.join(mesh_axes)} of size {pieces} "
            f"does not divide; sizes that fit: {', '.join(map(str, fits))}"
        )
