"""Names of machines: GPUs by their number, slices of TPUs as their vendor counts them."""

import pytest

from socsci_jax.errors import InputError
from socsci_jax.hardware import ACCELERATORS, parse_machine


@pytest.mark.parametrize(
    ("name", "devices", "gigabytes"),
    [
        ("8xh200", 8, 141),
        ("1xa100-40g", 1, 40),
        ("16xa100-80g", 16, 80),
        # TensorCores, two a chip.
        ("v5p-64", 32, 95),
        ("v4-8", 4, 32),
        # Chips.
        ("v5e-8", 8, 16),
        ("v6e-256", 256, 32),
    ],
)
def test_a_machine_is_read_from_its_name(name, devices, gigabytes):
    machine = parse_machine(name)
    assert machine.devices == devices
    assert machine.accelerator.memory == gigabytes * 10**9


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h200", "did you mean 1xh200"),
        ("8xh20", "did you mean 1xh200"),
        ("8xv5p", "did you mean v5p-8"),
        ("v5p", "did you mean v5p-8"),
        ("v5p-7", "counts TensorCores, 2 a chip"),
        ("0xh100", "did you mean 1xh100"),
        ("h100-8", "did you mean 1xh100"),
        ("tpu", "did you mean 1xcpu"),
        ("", "known are b200, h200"),
    ],
)
def test_another_name_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        parse_machine(name)


def test_every_accelerator_says_where_its_figures_are_from():
    assert all(accelerator.source for accelerator in ACCELERATORS.values())
