"""Answer tries: each token once, ends included, weights and probabilities add up as for separate answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsci_jax.data.tries import build_trie
from socsci_jax.errors import InputError

END = 99
answers = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12, unique=True
)


def test_the_numbers_0_to_100_share_their_digits():
    digits = [[int(d) for d in str(n)] for n in range(101)]
    trie = build_trie(digits, end_id=END)
    # 0, the nine other first digits, 90 second digits, and the last digit of 100.
    assert trie.num_nodes == 101
    assert len(trie.edge_id) == 101 + 101


@given(answers)
def test_paths_spell_the_answers(values):
    trie = build_trie(values, end_id=END)
    for value, path in zip(values, trie.path):
        assert tuple(trie.edge_id[path[path >= 0]]) == (*value, END)


@given(answers)
def test_each_edge_is_predicted_from_the_text_before_it(values):
    trie = build_trie(values, end_id=END)
    for value, path in zip(values, trie.path):
        for written, edge in enumerate(path[path >= 0]):
            row = trie.edge_read[edge]
            if written == 0:
                assert row == 0
                continue
            node = row - 1
            ancestors = [j for j in range(node + 1) if j <= node < trie.node_end[j]]
            assert tuple(trie.node_id[ancestors]) == value[:written]
            assert trie.node_depth[node] == written - 1


@given(answers, st.randoms(use_true_random=False))
def test_weighted_edges_sum_to_weighted_answers(values, random):
    trie = build_trie(values, end_id=END)
    weights = [random.randrange(5) for _ in values]
    edges = np.array([random.uniform(-3, 0) for _ in trie.edge_id])
    by_edge = (trie.edge_weights(weights) * edges).sum()
    by_answer = (np.array(weights) * trie.answer_log_probs(edges)).sum()
    assert by_edge == pytest.approx(by_answer)


def test_answers_that_cannot_be_told_apart_are_refused():
    with pytest.raises(InputError, match="not distinct"):
        build_trie([[1], [1]], end_id=END)
