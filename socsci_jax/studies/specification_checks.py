"""What is wrong between the parts of a specification: names that do not exist, slots that nothing fills."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from socsci_jax.studies.specification import Arms, Factor, Specification, Study
from socsci_jax.studies.specification_parts import TO_BE_WRITTEN, AnswerScale, Text, TextFrom

SLOT = re.compile(r"\{([^{}\n]{1,80})\}")


def problems(specification: Specification) -> list[str]:
    """What is wrong between the parts of a specification: names that do not exist, slots that nothing fills."""
    listed = [f"{key}: drafting left this open: {why}" for key, why in specification.unresolved.items()]
    listed += [
        f"scales.{name}.read: {problem}"
        for name, scale in specification.scales.items()
        for problem in _scale_problems(scale, specification)
    ]
    for name, file in specification.files.items():
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts or "\\" in file.path:
            listed.append(f"files.{name}: {file.path!r} is not a path within the specification's folder")
    for study_id, study in specification.studies.items():
        at = "" if len(specification.studies) == 1 else f"studies.{study_id}."
        listed += [f"{at}{problem}" for problem in _study_problems(study, specification)]
    return listed


def _study_problems(study: Study, specification: Specification) -> Iterator[str]:
    if specification.files and study.data not in specification.files:
        yield f"data: {study.data!r} is not one of files ({', '.join(specification.files)})"
    for i, join in enumerate(study.join):
        if join.file not in specification.files:
            yield f"join[{i}].file: {join.file!r} is not one of files ({', '.join(specification.files)})"
    for name, factor in study.factors.items():
        yield from _factor_problems(name, factor, study)
    for name, condition in study.conditions.items():
        yield from _arms_problems(f"conditions.{name}.factors", condition.factors, study)
        if not condition.factors and len(study.factors) > 1:
            yield f"conditions.{name}.factors: say at which levels of {', '.join(study.factors)} it is"
        elif not condition.factors and study.factors:
            ((only, what),) = study.factors.items()
            if what.levels and name not in what.levels:
                yield f"conditions.{name}: not a level of {only} ({', '.join(what.levels)}); say its factors"
    for at, text in texts(study):
        yield from _text_problems(at, text, study, specification)
    for name, outcome in study.outcomes.items():
        scales = [("", outcome.scale)]
        scales += [
            (f".variants[{i}]", v.scale) for i, v in enumerate(outcome.variants) if v.scale is not None
        ]
        for at, scale in scales:
            if isinstance(scale, str) and scale not in specification.scales:
                near = difflib.get_close_matches(scale, specification.scales, n=1)
                hint = (
                    f"; did you mean {near[0]!r}?"
                    if near
                    else f" ({', '.join(specification.scales) or 'none'})"
                )
                yield f"outcomes.{name}{at}.scale: {scale!r} is not one of scales{hint}"
            elif isinstance(scale, AnswerScale):
                for problem in _scale_problems(scale, specification):
                    yield f"outcomes.{name}{at}.scale.read: {problem}"
        for i, variant in enumerate(outcome.variants):
            yield from _arms_problems(f"outcomes.{name}.variants[{i}].arms", variant.arms, study)
            if outcome.wordings and variant.question is not None:
                yield (
                    f"outcomes.{name}.wordings: some arms have a question of their own (variants[{i}]); give wordings only "
                    "where all arms are asked the same"
                )
    known = set(study.outcomes)
    for name, composite in study.composites.items():
        if name in known:
            yield f"composites.{name}: an outcome has this name"
        for part in composite.of:
            if part not in known:
                yield f"composites.{name}.of: {part!r} is not one of outcomes, nor a composite above it"
        if extra := set(composite.reversed) - set(composite.of):
            yield f"composites.{name}.reversed: {min(extra)!r} is not one of `of`"
        known.add(name)
    for name, hypothesis in study.hypotheses.items():
        if hypothesis.outcome not in known:
            yield f"hypotheses.{name}.outcome: {hypothesis.outcome!r} is not one of outcomes, nor of composites"
        for side in ("higher", "lower"):
            yield from _arms_problems(f"hypotheses.{name}.{side}", getattr(hypothesis, side), study)


def _factor_problems(name: str, factor: Factor, study: Study) -> Iterator[str]:
    at = f"factors.{name}"
    if name == "condition":
        yield f"{at}: 'condition' is the slot of a condition's own text; take another name"
    if factor.loop is not None and factor.loop not in study.loop:
        yield f"{at}.loop: {factor.loop!r} is not one of loop ({', '.join(study.loop) or 'none'})"
    if factor.loop is not None and factor.column is not None:
        yield f"{at}: give column or loop, not both"
    by_when = [level for level in factor.levels.values() if level.when]
    if by_when and (
        len(by_when) < len(factor.levels) or factor.column is not None or factor.loop is not None
    ):
        yield f"{at}: levels are told apart by the factor's column or loop, or all of them by `when`"
    seen: dict[str, str] = {}
    for level, what in factor.levels.items():
        if what.when and what.values is not None:
            yield f"{at}.levels.{level}: give values or when, not both"
        for value in () if what.when else what.values or (level,):
            if value in seen:
                yield f"{at}.levels.{level}: the code {value!r} is that of level {seen[value]!r} already"
            seen[value] = level
        if len(what.values or ()) > 1 and what.pooled is None:
            yield (
                f"{at}.levels.{level}: pools the codes {', '.join(what.values or ())} of the assignment into one arm; "
                "make a level of each, or say why under `pooled`"
            )


def _arms_problems(at: str, arms: Arms, study: Study) -> Iterator[str]:
    for factor, levels in arms.items():
        known: Collection[str]
        if factor == "condition":
            first = next(iter(study.factors.values()), None)
            known = study.conditions or (first.levels if first is not None else ())
        elif factor in study.factors:
            known = study.factors[factor].levels
        else:
            yield f"{at}: {factor!r} is not one of factors ({', '.join(study.factors) or 'none'})"
            continue
        if known:
            for level in levels:
                if level not in known:
                    yield f"{at}.{factor}: {level!r} is not one of {', '.join(known)}"


def _scale_problems(scale: AnswerScale, specification: Specification) -> Iterator[str]:
    for part in scale.read or ():
        if isinstance(part, TextFrom) and part.file not in specification.files:
            yield f"{part.file!r} is not one of files ({', '.join(specification.files) or 'none'})"


def texts(study: Study) -> Iterator[tuple[str, Text]]:
    """All texts that people read, with their keys."""
    for name, factor in study.factors.items():
        for level, what in factor.levels.items():
            yield f"factors.{name}.levels.{level}.text", what.text or ()
    for name, condition in study.conditions.items():
        yield f"conditions.{name}.text", condition.text or ()
    yield "stimulus", study.stimulus or ()
    for name, outcome in study.outcomes.items():
        yield f"outcomes.{name}.question", outcome.question
        yield f"outcomes.{name}.answer_format", outcome.answer_format or ()
        for wording, text in outcome.wordings.items():
            yield f"outcomes.{name}.wordings.{wording}", text
        for i, variant in enumerate(outcome.variants):
            yield f"outcomes.{name}.variants[{i}].question", variant.question or ()


def _text_problems(at: str, text: Text, study: Study, specification: Specification) -> Iterator[str]:
    for part in text:
        if isinstance(part, str) and part.startswith(TO_BE_WRITTEN):
            yield f"{at}: still to be written ({part[:80]})"
        words: Mapping[str, str] = part.replace if isinstance(part, TextFrom) else {"": part}
        if isinstance(part, TextFrom) and part.file not in specification.files:
            yield f"{at}: {part.file!r} is not one of files ({', '.join(specification.files) or 'none'})"
        for name in (match[1] for value in words.values() for match in SLOT.finditer(value)):
            if name not in study.factors and name != "condition":
                yield f"{at}: nothing fills {{{name}}}; slots are {', '.join([*study.factors, 'condition'])}"
