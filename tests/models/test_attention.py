"""Every way to compute attention over prompt trees equals the rule written down: values and gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_config

from socsci_jax.errors import InputError
from socsci_jax.models import attention, attention_choice, attention_gpu, attention_tpu
from socsci_jax.models.attention import blocks_seen
from socsci_jax.models.attention_choice import (
    CHOICE,
    INTERPRETED,
    ROWS,
    XLA,
    Heads,
    attention_for,
    dense_attention,
    kernel_problem,
    same_attention,
)
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.models.slots import read_logits

# Read while tests are collected, before conftest.py makes them few.
KEYS = attention.KEYS
WAYS = {"xla": XLA, "rows": ROWS, "kernel": INTERPRETED}
HEAD_DIM = 16


def trees(rng: np.random.Generator, tokens: int) -> np.ndarray:
    """`end` of a row of random trees of ragged lengths, and padding after them."""
    end = np.zeros(tokens, np.int32)

    def grow(first: int, last: int, depth: int) -> None:
        while first < last:
            stop = int(rng.integers(first + 1, last + 1))
            shared = int(rng.integers(first + 1, stop + 1)) if depth else stop
            end[first:shared] = stop
            grow(shared, stop, depth - 1)
            first = stop

    grow(0, tokens - int(rng.integers(0, 70)), depth=3)
    return end


def operands(seed: int, *, rows: int, tokens: int, queries: int, heads: int, shared: int) -> dict:
    rng = np.random.default_rng(seed)
    at = np.sort(
        np.stack([rng.choice(tokens, queries, replace=queries > tokens) for _ in range(rows)]), axis=1
    )
    return {
        "q": rng.normal(size=(rows, queries, heads, shared, HEAD_DIM)).astype(np.float32),
        "k": rng.normal(size=(rows, tokens, heads, HEAD_DIM)).astype(np.float32),
        "v": rng.normal(size=(rows, tokens, heads, HEAD_DIM)).astype(np.float32),
        "at": at.astype(np.int32),
        "end": np.stack([trees(rng, tokens) for _ in range(rows)]),
        "to_mixed": rng.normal(size=(rows, queries, heads, shared, HEAD_DIM)).astype(np.float32),
    }


@functools.partial(jax.jit, static_argnames=("name", "dtype"))
def computed(name: str, given: dict, dtype) -> list[jax.Array]:
    """What queries that see something mix, and the gradients of q, k and v."""
    at, end = given["at"], given["end"]
    # A token that is no padding sees itself.
    counts = (jnp.take_along_axis(end, at, axis=1) > at)[:, :, None, None, None]
    if name == "dense":
        attend = functools.partial(dense_attention, at=at, end=end)
    else:
        see = WAYS[name].see(at, end)

        def attend(q, k, v):
            return WAYS[name].attend(q, k, v, see)

    mixed, gradients = jax.vjp(attend, *(given[x].astype(dtype) for x in ("q", "k", "v")))
    return [mixed * counts, *gradients((given["to_mixed"] * counts).astype(dtype))]


@pytest.fixture(scope="module", autouse=True)
def every_size():
    """The sizes of the program, not the few of other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "KEYS", KEYS)
        yield


def results(name: str, given: dict, dtype=jnp.float32) -> list[np.ndarray]:
    return [np.asarray(x, np.float32) for x in computed(name, given, dtype)]


def assert_near(found, wanted, *, tolerance: float, order: float = 0.0) -> None:
    """To `tolerance` of each array's largest number, or of `order` if that is more."""
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * max(order, np.abs(other).max()))


# The interpreted kernel is held to the rule by what admits it, too.
@pytest.mark.parametrize("name", ["xla", "rows", pytest.param("kernel", marks=pytest.mark.slow)])
@pytest.mark.parametrize("heads, shared", [pytest.param(1, 1, marks=pytest.mark.slow), (2, 3)])
@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), size=st.sampled_from([(64, 64), (192, 128)]))
def test_values_and_gradients_are_those_of_the_rule(name, heads, shared, seed, size):
    tokens, queries = size
    given = operands(seed, rows=2, tokens=tokens, queries=queries, heads=heads, shared=shared)
    # Operands are of the order of one; where tokens see only themselves some gradients are nothing but rounding.
    assert_near(results(name, given), results("dense", given), tolerance=1e-5, order=1)


def test_blocks_of_queries_may_see_few_keys_of_a_long_row_or_many():
    """One row in which blocks of queries take each of six sizes: values and gradients are those of the rule."""
    tokens = 1024
    given = operands(3, rows=1, tokens=tokens, queries=tokens, heads=1, shared=1)
    # Most of it is one text; what follows sees nothing of that.
    given["end"] = np.where(np.arange(tokens) < 768, 768, tokens)[None].astype(np.int32)
    seen = np.asarray(attention.visibility(given["at"], given["end"]).count) * attention.KEY_BLOCK
    assert seen.tolist() == [128, 256, 384, 512, 640, 768, 128, 256]
    assert_near(results("xla", given), results("dense", given), tolerance=1e-5, order=1)


@pytest.mark.parametrize("name", WAYS)
def test_in_bfloat16_they_are_near(name):
    given = operands(0, rows=1, tokens=128, queries=128, heads=2, shared=2)
    assert_near(results(name, given, jnp.bfloat16), results("dense", given), tolerance=2e-2)


# --- the kernel within the decoder, interpreted -----------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setenv(CHOICE, "kernel")


def logits_and_gradient(*, devices: int):
    config = small_config(64, head_dim=HEAD_DIM)
    rng = np.random.default_rng(0)
    rows, tokens = 4, 128
    end = np.stack([trees(rng, tokens) for _ in range(rows)])
    every = np.broadcast_to(np.arange(tokens, dtype=np.int32), end.shape)
    batch = {"ids": rng.integers(0, 64, end.shape).astype(np.int32), "position": every, "end": end}
    batch["read"] = np.ascontiguousarray(every[:, ::2])
    counts = (np.take_along_axis(end, batch["read"], axis=1) > 0)[..., None]
    mesh = make_mesh(data=devices // 2 or 1, fsdp=1, tensor=min(devices, 2), devices=jax.devices()[:devices])
    params = init(config, key=jax.random.key(0), shardings=param_shardings(config, mesh))

    def loss(params):
        logits = read_logits(params, batch, config=config, compute_dtype=jnp.float32) * counts
        return jnp.sum(logits**2) / 1000, logits

    with jax.set_mesh(mesh):
        (_, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return [np.asarray(x) for x in (logits, *jax.tree.leaves(gradient))]


@pytest.mark.slow
def test_the_decoder_computes_the_same_with_the_kernel_on_eight_devices(kernel, monkeypatch):
    found = logits_and_gradient(devices=8)
    monkeypatch.setenv(CHOICE, "xla")
    assert_near(found, logits_and_gradient(devices=1), tolerance=2e-5)


# --- what is taken where ----------------------------------------------------------------------------------------------

HEADS = Heads(HEAD_DIM, 3, np.dtype(np.float32))
WRONG = "its results are off by 1.0e-03"


@pytest.fixture
def accelerator(monkeypatch):
    """What a TPU's process does, on which nobody has to ask for the kernel and nothing was asked yet."""
    monkeypatch.delenv(CHOICE, raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    monkeypatch.setattr(attention_choice, "device_kernel", lambda: INTERPRETED)
    monkeypatch.setattr(attention_choice, "_problems", {})


def erring(monkeypatch, wrong) -> None:
    """The device's kernel gives what `wrong` makes of its results."""
    attend = INTERPRETED.attend
    wrong_kernel = INTERPRETED._replace(attend=lambda q, k, v, see: wrong(q, k, attend(q, k, v, see)))
    monkeypatch.setattr(attention_choice, "device_kernel", lambda: wrong_kernel)


def test_without_a_gpu_the_kernel_is_not_asked_for(monkeypatch):
    monkeypatch.delenv(CHOICE, raising=False)
    assert attention_for(HEADS) is XLA


def test_a_choice_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv(CHOICE, "flash")
    with pytest.raises(InputError, match="SOCSCI_JAX_ATTENTION is 'flash'; set it to xla, rows or kernel"):
        attention_for(HEADS)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_a_kernel_that_is_right_is_admitted(accelerator, dtype):
    assert attention_for(HEADS._replace(dtype=np.dtype(dtype))) is INTERPRETED


def test_a_kernel_that_errs_is_not_admitted(accelerator, monkeypatch, caplog):
    erring(monkeypatch, lambda q, k, mixed: mixed * 1.001)
    assert [attention_for(HEADS) for _ in range(2)] == [ROWS, ROWS]
    assert caplog.text.count("computed without a kernel, over whole rows") == 1
    assert f"({WRONG})" in caplog.text


def test_the_question_covers_fewer_queries_than_tokens(accelerator, monkeypatch):
    erring(monkeypatch, lambda q, k, mixed: mixed * (1 if q.shape[1] == k.shape[1] else 1.001))
    assert kernel_problem(HEADS) == WRONG


def test_the_question_is_that_of_the_models_own_heads(accelerator, monkeypatch):
    asked = []
    monkeypatch.setattr(attention_choice, "_compared", asked.append)
    config = dataclasses.replace(small_config(64, head_dim=32), num_attention_heads=10, num_key_value_heads=2)
    attention_for(Heads.of(config, "bfloat16"))
    assert asked == [Heads(32, 5, jnp.dtype(jnp.bfloat16))]


@pytest.mark.parametrize("size", [attention_gpu.BLOCK, attention_tpu.BLOCK])
def test_the_question_covers_blocks_with_and_without_a_mask(size):
    end = attention_choice._asked_about()
    every = np.broadcast_to(np.arange(end.shape[1], dtype=np.int32), end.shape)
    sees, whole = blocks_seen(every, end, size)
    assert whole.any() and (sees & ~whole).any() and not sees.all()


def test_an_accelerator_without_a_kernel_computes_whole_rows_and_says_so(accelerator, monkeypatch, caplog):
    monkeypatch.setattr(attention_choice, "device_kernel", lambda: None)
    assert attention_for(HEADS) is ROWS
    assert "over whole rows, so that long rows take several times as long" in caplog.text


def test_heads_that_no_kernel_takes(accelerator, monkeypatch):
    monkeypatch.setenv(CHOICE, "kernel")
    with pytest.raises(
        InputError, match="heads have 24 features in float32, a multiple of 16 up to 256 is needed"
    ):
        attention_for(HEADS._replace(features=24))


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 128), (jnp.bfloat16, 256)])
def test_a_gpu_computes_wide_heads_in_float32_without_the_kernel_which_would_spill_registers(
    accelerator, monkeypatch, caplog, dtype, most
):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention_choice, "missing", lambda: None)
    monkeypatch.setattr(attention_choice, "_compared", lambda heads: None)
    heads = HEADS._replace(dtype=np.dtype(dtype))
    assert attention_for(heads._replace(features=most)) is INTERPRETED
    assert attention_for(heads._replace(features=most + 16)) is ROWS
    assert f"up to {most} is needed" in caplog.text


# --- one answer for all processes -------------------------------------------------------------------------------------


@pytest.fixture
def finds(accelerator, monkeypatch):
    """Says what this process is to find wrong with its kernel."""
    return lambda problem: monkeypatch.setattr(attention_choice, "_compared", lambda heads: problem)


def test_where_the_kernel_fails_on_another_process_this_one_goes_without_it_too(finds, caplog):
    finds(None)
    assert same_attention(HEADS, lambda own: [own, own, WRONG]) == "rows"
    assert attention_for(HEADS) is ROWS
    assert [r.message.partition("(")[2] for r in caplog.records] == [f"process 2: {WRONG})"]


def test_where_the_kernel_fails_here_the_others_are_told(finds, caplog):
    finds(WRONG)
    told = []
    assert same_attention(HEADS, lambda own: told.append(own) or [None, own]) == "rows"
    assert told == [WRONG] and len(caplog.records) == 1


def test_where_it_works_everywhere_all_take_the_kernel(finds):
    finds(None)
    assert same_attention(HEADS, lambda own: [own, own]) == "kernel"


def test_a_kernel_that_was_asked_for_and_fails_elsewhere_ends_the_run(finds, monkeypatch):
    finds(None)
    monkeypatch.setenv(CHOICE, "kernel")
    with pytest.raises(InputError, match=rf"does not work here \(process 1: {WRONG}\); unset it"):
        same_attention(HEADS, lambda own: [own, WRONG])
