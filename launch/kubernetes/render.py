#!/usr/bin/env python
"""Writes what Kubernetes needs to train a recipe: `python launch/kubernetes/render.py RECIPE --image I --claim C`.

Printed are the recipe as a ConfigMap, a new Secret, a headless Service and an indexed Job, for `kubectl apply -f -`. Pods, GPUs or
the TPU slice come from the recipe's `hardware`. The image has socsci_jax installed; the claim is storage that all nodes
share, in which the recipe's relative paths begin.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from pathlib import Path

import jinja2

from socsci_jax.distributed.place import PORTS
from socsci_jax.distributed.schedulers import count_nodes
from socsci_jax.errors import BAD_INPUT, NON_FINITE, START_AGAIN, STORAGE_FAILED, InputError
from socsci_jax.hardware import Machine
from socsci_jax.training.recipe_files import load_recipe

TEMPLATE = Path(__file__).resolve().parent / "job.yaml.jinja"

# GKE's names of slices, and their shapes by number of chips (Cloud TPU documentation, TPUs in GKE).
GKE_SLICES = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
}
FLAT = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
CUBIC = {
    4: "2x2x1",
    8: "2x2x2",
    16: "2x2x4",
    32: "2x4x4",
    64: "4x4x4",
    128: "4x4x8",
    256: "4x8x8",
    512: "8x8x8",
}


def slice_topology(machine: Machine) -> str:
    known = FLAT if machine.accelerator.name in ("v5e", "v6e") else CUBIC
    if machine.devices not in known:
        raise InputError(
            f"hardware {machine.name} is a slice of {machine.devices} chips, for which GKE has no shape; "
            f"slices have {', '.join(map(str, known))} chips."
        )
    return known[machine.devices]


def default_devices_per_node(machine: Machine) -> int:
    if machine.accelerator.name == "cpu":
        return 1  # JAX counts a process's CPUs as one device
    # Hosts of v5e and v6e have eight chips if they are a slice of their own, else four.
    is_tpu = machine.accelerator.name in GKE_SLICES
    small = machine.accelerator.name in ("v5e", "v6e") and machine.devices <= 8
    return 4 if is_tpu and not small else 8


def label(name: str) -> str:
    """A recipe's name as Kubernetes allows it for a Service, with room for a pod's number."""
    return re.sub(r"[^a-z0-9]+", "-", f"run-{name}".lower()).strip("-")[:50].rstrip("-")


def render(
    recipe_path: str,
    overrides: list[str],
    *,
    image: str,
    claim: str,
    devices_per_node: int | None = None,
    node_selector: dict[str, str] | None = None,
) -> str:
    """The manifests as YAML.  Raises InputError if the recipe is wrong or its hardware does not fill nodes."""
    recipe = load_recipe(recipe_path, overrides)
    machine, kind = recipe.machine, recipe.machine.accelerator.name
    is_tpu = kind in GKE_SLICES
    nodes = count_nodes(machine, devices_per_node or default_devices_per_node(machine))
    selector = dict(node_selector or {})
    if is_tpu:
        selector |= {
            "cloud.google.com/gke-tpu-accelerator": GKE_SLICES[kind],
            "cloud.google.com/gke-tpu-topology": slice_topology(machine),
        }
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(TEMPLATE.read_text())
    return template.render(
        name=label(recipe.name),
        recipe=recipe.rendered(),
        nodes=nodes,
        devices=machine.devices // nodes,
        accelerator_resource=None if kind == "cpu" else "google.com/tpu" if is_tpu else "nvidia.com/gpu",
        is_tpu=is_tpu,
        node_selector=selector,
        image=image,
        claim=claim,
        port=PORTS[0],
        secret=secrets.token_hex(32),
        # Storage that never comes back would start a pod again for ever; without a rule starts are counted.
        start_again=[status for status in START_AGAIN if status != STORAGE_FAILED],
        final=[BAD_INPUT, NON_FINITE],
    )


def _node_selector(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]*", pair):
            raise InputError(
                f"--node-selector {pair[:80]!r}: give KEY=VALUE, such as cloud.google.com/gke-spot=true."
            )
    return dict(pair.split("=", 1) for pair in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="recipe file; see recipes/")
    parser.add_argument("overrides", nargs="*", help="changes to the recipe, for instance optimizer.epochs=2")
    parser.add_argument("--image", required=True, help="container image with socsci_jax installed")
    parser.add_argument("--claim", required=True, help="PersistentVolumeClaim that all nodes may write")
    parser.add_argument(
        "--devices-per-node", type=int, help="GPUs of a node (default 8), or chips of a TPU's host"
    )
    parser.add_argument(
        "--node-selector",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label of the nodes to run on",
    )
    arguments = parser.parse_intermixed_args()
    try:
        print(
            render(
                arguments.recipe,
                arguments.overrides,
                image=arguments.image,
                claim=arguments.claim,
                devices_per_node=arguments.devices_per_node,
                node_selector=_node_selector(arguments.node_selector),
            )
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
