"""The mutation test's parts: what it finds, changes, requires and says; no test suite is run."""

import os
import time
from functools import partial
from importlib.util import module_from_spec
from pathlib import Path

import benchmarks.mutations as mutations
import pytest
from benchmarks.mutations import (
    CLOSED,
    CONFIGS,
    asks,
    found,
    gaps,
    mutant_lines,
    objective_lines,
    page,
)
from benchmarks.mutations_find import KINDS, left_out, mutants
from benchmarks.mutations_run import SOURCES, Mutated, Verdict, Watch, apart, judged
from benchmarks.mutations_uses import concerns, has

SOURCE = '''
def distance(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return λ² of a Tensor."""
    theirs = teacher.float()
    pairs = mask[:, None].bool() & theirs.allowed
    weights = pairs.float()
    each = (student - theirs.detach()).masked_fill(~pairs, 0.0)
    return (each * weights).sum() * temperature**2 + 2 * each.detach().sum()


class Distance(Objective):
    """It is called λ."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        unit: Literal["tokens", "batch"] = "tokens"
        value = student.logits.detach().masked_fill(batch.labels == 1, 0.0)
        total = distance(value, teacher.logits, batch.mask, self.temperature) * self.beta**2
        return {"soft": Term(total, unit, self.lam * self.temperature**2)}
'''
EXPECTED = [
    ("distance.py:4:distance mask", "+ mask = mask | True"),
    ("distance.py:5:distance one mask", "mask[:, None].bool()"),
    ("distance.py:5:distance one mask 2", "theirs.allowed"),
    ("distance.py:7:distance one fill", "student - theirs.detach()"),
    ("distance.py:7:distance detach", "theirs.detach() → theirs"),
    ("distance.py:8:distance one mask", "each * weights → each"),
    ("distance.py:8:distance t2", "temperature**2 → 1.0"),
    ("distance.py:8:distance detach", "each.detach() → each"),
    ("distance.py:15:Distance.forward unit", '"tokens" → "rows"'),
    ("distance.py:16:Distance.forward class fill", "student.logits.detach()"),
    ("distance.py:17:Distance.forward mask argument", "batch.mask → batch.mask | True"),
    ("distance.py:18:Distance.forward t2", "self.temperature**2 → 1.0"),
]
FOUND, LEFT = found()
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py")}


def test_what_is_found_in_a_source():
    every = mutants(SOURCE, "distance.py")
    assert [mutant.name for mutant in every] == [name for name, _ in EXPECTED]
    for mutant, (_, change) in zip(every, EXPECTED, strict=True):
        assert mutant.change.endswith(change), mutant.name


def test_a_detach_that_holds_no_teacher_is_left_out_and_said():
    said = ["distance.py:16:Distance.forward student.logits.detach()"]
    assert left_out(SOURCE, "distance.py") == said
    assert LEFT and not any("teacher" in line for line in LEFT)
    assert {line.partition(":")[0] for line in LEFT} == {"by_rows.py", "dist.py", "hard.py"}


def test_only_what_is_named_is_changed():
    after = {m.name: m.applied(SOURCE) for m in mutants(SOURCE, "distance.py")}
    assert after["distance.py:8:distance t2"] == SOURCE.replace("() * temperature**2", "() * 1.0")
    assert after["distance.py:7:distance one fill"] == SOURCE.replace(
        ".masked_fill(~pairs, 0.0)", ""
    )
    assert "    mask = mask | True\n    theirs =" in after["distance.py:4:distance mask"]


@pytest.mark.parametrize("mutant", FOUND, ids=lambda mutant: mutant.name)
def test_every_mutant_is_another_program(mutant):
    source = mutant.applied(TEXTS[mutant.file])
    assert source != TEXTS[mutant.file]
    compile(source, mutant.file, "exec")


def test_names_are_unique_and_every_kind_is_met():
    assert len({mutant.name for mutant in FOUND}) == len(FOUND) > 60
    assert {mutant.kind for mutant in FOUND} == set(KINDS)


@pytest.mark.parametrize("objective", [path.stem for path in CONFIGS.glob("*.yaml")])
def test_every_objective_has_its_mutants(objective):
    """Each detaches the teacher, or gives it no gradient at all; T² is in each that has a T, and in
    `combine` through its parts."""
    reached = concerns(SOURCES, CONFIGS)[objective]
    kinds = {mutant.kind for mutant in FOUND if mutant.owner in reached}
    assert ("detach" in kinds or CLOSED in reached) == asks(objective)
    tempered = has(CONFIGS / f"{objective}.yaml", "temperature") or objective == "combine"
    assert ("t2" in kinds) == tempered
    reads_mask = any(m.kind == "mask argument" for m in FOUND if m.owner in reached)
    assert ("mask" in kinds) == reads_mask


def test_an_objective_without_its_mutants_is_said():
    assert gaps(FOUND) == []
    lines = gaps([mutant for mutant in FOUND if mutant.kind != "t2"])
    assert "hinton: it has a temperature, but no T² was found" in lines
    assert not any(line.startswith(("hidden", "rkd")) for line in lines)
    assert "rkd: no detach of the teacher was found" in gaps([])


def test_helpers_count_for_whoever_calls_them():
    reached = concerns(SOURCES, CONFIGS)
    helper = "distill_lab.objectives.relations.rows_kl"
    assert {name for name, own in reached.items() if helper in own} == {
        "attention", "minilm", "minilm_v2",
    }  # fmt: skip
    assert "distill_lab.objectives.hidden.hidden_distance" in reached["combine"]


def test_the_tables_name_what_is_not_noticed():
    judgements = [(mutant, Verdict("killed", "test_a")) for mutant in FOUND]
    place = next(i for i, mutant in enumerate(FOUND) if mutant.name.startswith("hinton.py"))
    judgements[place] = (FOUND[place], Verdict("survived"))
    row = next(line for line in objective_lines(judgements) if line[0] == "hinton")
    assert f"{place + 1} survived" in ", ".join(row)
    lines = mutant_lines(judgements)
    text = page("All.", [("Mutants", mutations.MUTANTS, lines)], ["a line"])
    assert "mask \\| True" in text and "- `a line`" in text


def test_one_module_has_another_source():
    finder = Mutated("made.up", Path("made/up.py"), "answer = 42")
    spec = finder.find_spec("made.up")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer == 42 and finder.find_spec("made.other") is None


def test_a_job_runs_apart_and_may_take_too_long_or_die():
    assert apart(os.getpid, None, 30) != os.getpid()
    assert apart(partial(time.sleep, 60), None, 0.1) is None
    assert apart(partial(os._exit, 1), None, 30) is None


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (None, "no answer"),
        ((0, ""), "survived"),
        ((1, "AssertionError"), "killed"),
        ((1, "TypeError"), "crashed"),
        ((2, "ImportError"), "crashed"),
    ],
)
def test_only_an_assertion_kills(monkeypatch, answer, outcome):
    watch = Watch()
    if answer:
        watch.error = answer[1]
    given = answer and (answer[0], watch)
    monkeypatch.setattr("benchmarks.mutations_run.apart", lambda job, mutant, limit: given)
    factor = next(mutant for mutant in FOUND if mutant.kind == "t2")
    assert judged(factor, 1).outcome == outcome


@pytest.mark.parametrize("kind", ["one fill", "detach"])
@pytest.mark.parametrize(("behaviour", "outcome"), [("same", "redundant"), ("new", "survived")])
def test_some_are_redundant_if_nothing_changes(monkeypatch, kind, behaviour, outcome):
    answers = iter([(0, Watch()), behaviour])
    monkeypatch.setattr("benchmarks.mutations_run.apart", lambda *_: next(answers))
    monkeypatch.setattr("benchmarks.mutations_run.unmutated", lambda limit: "same")
    fill = next(mutant for mutant in FOUND if mutant.kind == kind)
    assert judged(fill, 1).outcome == outcome
