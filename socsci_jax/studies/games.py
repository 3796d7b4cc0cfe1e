"""Three games with known best replies: what is read, what may be answered, what it pays, and what others do.

Design after Fan, Chen, Jin and He, "Can large language models serve as rational players in game theory?" (2024):
a dictator game asks whether stated desires are acted on, rock-paper-scissors whether beliefs are formed from what was
seen, a ring of two whether an action follows from what the other one will do.
Options are asked in every rotated order, so that a preference for a place in the list does not look like a choice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.schema import Item, Scale

DICTATOR, ROCK_PAPER_SCISSORS, RING = "dictator", "rock_paper_scissors", "ring_of_two"
Role = Literal["action", "belief"]
Option = TypeVar("Option")

# What the player gets and what the other one gets.
SPLITS = ((500, 100), (100, 500), (400, 300), (325, 325))
# What each preference makes of a split; the best split is unique under each.
PREFERENCES: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "equality": ("You want both of you to get the same.", lambda own, other: -abs(own - other)),
    "common interest": (
        "You want both of you together to get as much as possible.",
        lambda own, other: own + other,
    ),
    "self-interest": ("You want to get as much as possible for yourself.", lambda own, other: own),
    "altruism": ("You want the other player to get as much as possible.", lambda own, other: other),
}

MOVES = ("Rock", "Paper", "Scissors")
# A move (row) against a move (column): 2 points for a win, 1 for a draw.
POINTS = ((1, 0, 2), (2, 1, 0), (0, 2, 1))
ROUNDS = 10
FAVORED = 0.6

# Own payoff of (U, V) against (X, Y), and the other one's.
RING_OWN = ((40, 5), (0, 15))
RING_OTHER = ((0, 10), (7, 8))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GameItem:
    """One question of a game.  `case` names the situation; an action and a belief of one case belong together.

    payoffs [own options, other's options] are in the order in which this item (or its action) lists the options,
    `truth` holds the probabilities of what the other one does; a dictator's other has one option, to take it.
    """

    item: Item
    game: str
    case: str
    role: Role
    payoffs: tuple[tuple[float, ...], ...]
    truth: tuple[float, ...]


@functools.cache
def game_items() -> tuple[GameItem, ...]:
    """All questions of the three games; always the same."""
    return (*_dictator(), *_rock_paper_scissors(), *_ring())


def _dictator() -> list[GameItem]:
    items = []
    for preference, (wish, worth) in PREFERENCES.items():
        for order in range(len(SPLITS)):
            splits = _rotated(SPLITS, order)
            items.append(
                GameItem(
                    item=_item(
                        DICTATOR,
                        f"{preference}, order {order + 1}",
                        "action",
                        "You and another player share money, and you alone decide how. The other player has to take "
                        f"what you choose, and you will never meet. {wish}",
                        "Which of these do you choose?",
                        [
                            f"you get {own} dollars, the other player gets {other} dollars"
                            for own, other in splits
                        ],
                    ),
                    game=DICTATOR,
                    case=f"{preference}, order {order + 1}",
                    role="action",
                    payoffs=tuple((float(worth(own, other)),) for own, other in splits),
                    truth=(1.0,),
                )
            )
    return items


def _rock_paper_scissors() -> list[GameItem]:
    items = []
    for name, own, other, truth in _histories():
        seen = "\n".join(
            f"Round {number}: you {MOVES[mine]}, the other player {MOVES[theirs]}"
            for number, (mine, theirs) in enumerate(zip(own, other), start=1)
        )
        situation = (
            "You play rock-paper-scissors against another player, many rounds. A win gives 2 points, a draw 1 point, "
            f"a loss none. So far:\n{seen}"
        )
        for order in range(len(MOVES)):
            turned = _rotated(range(len(MOVES)), order)
            case = f"{name}, order {order + 1}"
            moves = [MOVES[move] for move in turned]
            questions: dict[Role, str] = {
                "belief": "What will the other player do in the next round?",
                "action": "What do you do in the next round?",
            }
            items += [
                GameItem(
                    item=_item(ROCK_PAPER_SCISSORS, case, role, situation, question, moves),
                    game=ROCK_PAPER_SCISSORS,
                    case=case,
                    role=role,
                    payoffs=tuple(tuple(float(POINTS[mine][theirs]) for theirs in turned) for mine in turned),
                    truth=tuple(truth[theirs] for theirs in turned),
                )
                for role, question in questions.items()
            ]
    return items


def _histories() -> list[tuple[str, list[int], list[int], tuple[float, ...]]]:
    """Name, own and other's moves so far, and the probabilities of the other's next move."""
    histories = []
    for first in range(len(MOVES)):
        rng = np.random.default_rng([4, first])
        # Own moves are shuffled and about as often each, so that whoever reacts to them cannot be taken for one who
        # repeats, loops or prefers a move.
        own = rng.permutation([*range(3)] * 3 + [first]).tolist()
        copied = [first, *own[:-1]]
        countered = [first, *((move + 1) % 3 for move in own[:-1])]
        favored = [first] * round(FAVORED * ROUNDS) + [(first + 1) % 3] * 2 + [(first + 2) % 3] * 2
        mixed = tuple(FAVORED if move == first else (1 - FAVORED) / 2 for move in range(3))
        histories += [
            (f"always {MOVES[first]}", own, [first] * ROUNDS, _sure(first)),
            (
                f"loop from {MOVES[first]}",
                own,
                [(first + at) % 3 for at in range(ROUNDS)],
                _sure((first + ROUNDS) % 3),
            ),
            (f"copies, from {MOVES[first]}", own, copied, _sure(own[-1])),
            (f"counters, from {MOVES[first]}", own, countered, _sure((own[-1] + 1) % 3)),
            (f"mostly {MOVES[first]}", own, rng.permutation(favored).tolist(), mixed),
        ]
    return histories


def _ring() -> list[GameItem]:
    items = []
    for order in range(2):
        own, other = _rotated((0, 1), order), _rotated((0, 1), order)
        table = " ".join(
            f"If you choose {'UV'[mine]} and the other player chooses {'XY'[theirs]}, you get {RING_OWN[mine][theirs]} "
            f"dollars and the other player gets {RING_OTHER[mine][theirs]} dollars."
            for mine in own
            for theirs in other
        )
        situation = (
            "You and another player choose at the same time, once, without talking. The other player knows all of this "
            f"too and wants to get as much as possible. {table}"
        )
        case = f"one shot, order {order + 1}"
        asked: dict[Role, tuple[str, list[str]]] = {
            "belief": ("What will the other player choose?", ["XY"[theirs] for theirs in other]),
            "action": (
                "You want to get as much as possible. What do you choose?",
                ["UV"[mine] for mine in own],
            ),
        }
        items += [
            GameItem(
                item=_item(RING, case, role, situation, question, options),
                game=RING,
                case=case,
                role=role,
                payoffs=tuple(tuple(float(RING_OWN[mine][theirs]) for theirs in other) for mine in own),
                # Y gives the other one more whatever the player does.
                truth=tuple(float(theirs == 1) for theirs in other),
            )
            for role, (question, options) in asked.items()
        ]
    return items


def _item(game: str, case: str, role: Role, situation: str, question: str, options: Sequence[str]) -> Item:
    scale = Scale.of_levels(dict(enumerate(options, start=1)), origin="stated", nominal=True)
    return Item(
        study_id=game,
        condition=case,
        outcome=role,
        stimulus=f"{situation}\n\n",
        question=f"{question}\n",
        answer_format=answer_format(scale),
        scale=scale,
    )


def _rotated(options: Sequence[Option], order: int) -> tuple[Option, ...]:
    return (*options[order:], *options[:order])


def _sure(move: int) -> tuple[float, ...]:
    return tuple(float(other == move) for other in range(3))
