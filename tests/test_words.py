"""The project's words: what was renamed does not come back, in names, prose, flags, columns and file names."""

import re
import subprocess
from pathlib import Path

import pytest

import socsci_jax
from socsci_jax.training import recipe_blocks, recipe_objective, recipe_upkeep

ROOT = Path(__file__).parent.parent

# What must not come back, and the usual word for it.
BANNED = {
    r"both_ways": "undirected contrasts",
    r"\bsaid_if_\w+": "translate_storage_errors",
    r"\b(?:warmup_share|skip_not_finite_steps|rematerialization|rematerialisation|vocabulary_size)\b": "as Optax, JAX and Hugging Face name it: warmup_ratio, skip_nonfinite_steps, remat, vocab_size",
    r"\bleave_out_studies\b": "exclude_studies",
    r"\btoward(?::|=|`)": "condition_on",
    r"\b(?:stands?|beside) (?:beside|its baselines)\b": "compared with, alongside",
    r"\b(?:goes|go) on where\b": "resumes",
    r"\b(?:left out|leaves? out|set aside|left aside)\b": "excluded, omitted, missing",
    r"\bbroken off\b": "incomplete",
    r"\bno finite numbers?\b|\b(?:or|is|are) no numbers?\b|\bthat are none\b": "not finite, invalid, not a number",
    r"\bletter for letter\b": "verbatim",
    r"\b[Ww]ay of the data\b": "data flow",
    r"\b(?:this|our|the) house\b|\brooms\b": "architecture, packages",
    r"\b(?:stated|observed) convention\b": "normalized by the scale's range, by the observed range",
    r"\btraining shape\b": "training-marginal baseline",
    r"\bSight\b": "visibility",
    r"\bclass Path\b": "PromptPath, MediationPath",
    r"\b(?:[Cc]olour|[Bb]ehaviour|[Ff]avour|[Nn]eighbour|[Ll]abelled\b|[Ll]abelling|[Mm]odelled|[Mm]odelling|[Cc]ancelled|[Tt]owards"
    r"|[Aa]nalysed|[Cc]atalogue|[Jj]udgement|[Aa]rtefact|[Ww]hilst|[Gg]rey|[Cc]entred|[Tt]ravell\w+|"
    r"\w*(?:normalis|randomis|organis|optimis|initialis|generalis|serialis|tokenis|summaris|recognis|minimis|maximis|quantis|standardis)"
    r"(?:e|es|ed|ing|ation)\b)": "American spelling",
}

# Where a banned word is meant: (file, word) -> why.
ALLOWED = {
    ("CHANGELOG.md", "both old and new names"): r".",
    ("tests/test_words.py", "the list itself"): r".",
    ("tests/data_pipelines/test_drafting_model.py", "what a survey asks"): r"[Gg]rey",
}

# Results of benchmarks are kept as they were measured; drawings name the attributes of SVG.
UNREAD = re.compile(r"^(?:benchmarks/results/|docs/images/)|\.(?:png|svg|model|parquet|lock)$")


def texts() -> dict[str, str]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in names.splitlines() if not UNREAD.search(name) and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="ignore") for name in files}


TEXTS = texts()


# Commands that a sentence tells to type, and options of programs that are not ours.
_COMMANDS = re.compile(r"`(?:socsci-jax|pip) [^`]*`|socsci-jax (?:quickstart|data build)[^\n]*")
_FLAG = re.compile(r"(?:^|[\s\"'`(\[])--[a-z][a-z-]+")


def test_the_library_speaks_of_arguments():
    """A notebook has no flags: the library names `replace=True`, which the command line shows as `--replace`."""
    named = {
        (name, flag)
        for name, text in TEXTS.items()
        if name.startswith(("socsci_jax/", "data_pipelines/"))
        and name.endswith(".py")
        and "/cli/" not in name
        for string in re.findall(r"raise \w*Error\((.*?)\n\s*\)", text, re.S)
        for flag in _FLAG.findall(_COMMANDS.sub("", string))
    }
    # What only launch scripts ask for, and what pip takes.
    assert {file for file, _ in named} <= {"socsci_jax/distributed/schedulers.py", "socsci_jax/hub.py"}, named


def is_allowed(name: str, word: str) -> bool:
    return any(file == name and re.search(pattern, word) for (file, _), pattern in ALLOWED.items())


@pytest.mark.parametrize("pattern", BANNED, ids=lambda pattern: BANNED[pattern])
def test_words_that_were_renamed_do_not_come_back(pattern):
    places = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for name, text in TEXTS.items()
        for match in re.finditer(pattern, text)
        if not is_allowed(name, match[0])
    ]
    assert not places, f"say: {BANNED[pattern]}\n" + "\n".join(places)


def test_every_exception_is_still_needed():
    for (name, why), allowed in ALLOWED.items():
        words = [m[0] for pattern in BANNED for m in re.finditer(pattern, TEXTS[name])]
        assert any(re.search(allowed, word) for word in words), f"{name} ({why})"


def test_modules_have_the_usual_names():
    renamed = (
        "loading.py",
        "planning.py",
        "simulation/parts.py",
        "evaluation/figures.py",
        "evaluation/scaling.py",
    )
    assert not [name for name in renamed if (ROOT / "socsci_jax" / name).exists()]


def test_settings_do_not_share_a_name_with_what_they_configure():
    for module in (recipe_blocks, recipe_objective, recipe_upkeep):
        blocks = [
            c for c in vars(module).values() if isinstance(c, type) and issubclass(c, recipe_blocks.Block)
        ]
        assert {c.__name__ for c in blocks if not c.__name__.endswith("Config")} <= {"Block"}


@pytest.mark.parametrize("name", [n for n in socsci_jax.__all__ if n[0].islower()])
def test_a_public_functions_documentation_begins_with_what_it_does(name):
    """A verb in the third person: "Predicts how each persona ..."; then arguments, what is returned, what is raised."""
    documentation = getattr(socsci_jax, name).__doc__
    assert re.match(r"[A-Z][a-z-]*s\b", documentation), documentation.splitlines()[0]
    assert documentation.split("\n")[0].endswith((".", ";"))


def test_no_module_takes_the_name_of_a_public_function():
    """Importing the module would put it in the function's place: `sj.export` would no longer be callable."""
    modules = {path.stem for path in Path(socsci_jax.__file__).parent.iterdir()}
    assert not modules & set(socsci_jax.__all__)
