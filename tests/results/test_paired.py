"""Gains of runs on disk: tested where the rows tell it, and otherwise with the reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from distill_lab.errors import DataError
from distill_lab.results.columns import columns
from distill_lab.results.compare import Comparison, comparisons
from distill_lab.results.gains import FEW, Gain
from distill_lab.results.predictions import read_predictions
from distill_lab.results.result import Result
from distill_lab.results.runs import collect
from distill_lab.results.words import in_words, notes
from tests.results.made import LABELS, answers, made, three


def gain(folder: Path) -> Gain:
    """The only student's."""
    (line,) = one(folder).students
    assert line.gain is not None
    return line.gain


def one(folder: Path) -> Comparison:
    (comparison,) = comparisons(collect([folder]).results)
    return comparison


def rewritten(folder: Path, **columns: object) -> None:
    file = folder / "predictions.parquet"
    table = pd.read_parquet(file).assign(**columns)
    table.to_parquet(file)


def test_one_seed_is_mcnemar(tmp_path: Path) -> None:
    models = three(1, 0.85)
    made(tmp_path / "run", models)
    right = [models[name] == LABELS for name in ("student", "baseline")]
    won, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    found = gain(tmp_path)
    assert found.p == pytest.approx(stats.binomtest(won, won + lost).pvalue)
    assert found.test == "exact McNemar test" and found.seeds == 1
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx((won - lost) / len(LABELS))
    assert found.verdict == "better"


def test_several_seeds_cover_rows_and_seeds(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        made(tmp_path / str(seed), three(seed, 0.95, 0.6), seed=seed)
    found = gain(tmp_path)
    assert found.test == "bootstrap over rows and seeds" and found.seeds == 3
    each = [run.gain for run in collect([tmp_path]).results]
    assert found.mean == pytest.approx(np.mean(each)) and found.sd == pytest.approx(
        np.std(each, ddof=1)
    )
    seeds_alone = stats.t.ppf(0.975, 2) * found.sd / 3**0.5
    assert found.high - found.mean > seeds_alone
    assert found.verdict == "better"


def test_a_worse_student_is_told(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.5, 0.9))
    assert gain(tmp_path).verdict == "worse"


def test_holm_counts_the_cells(tmp_path: Path) -> None:
    for temperature in (1.0, 2.0, 4.0):
        models = three(1, 0.5 + temperature / 10)
        made(tmp_path / str(temperature), models, temperature=temperature)
    gains = [line.gain for line in one(tmp_path).students]
    levels = sorted(g.p for g in gains)
    assert sorted(g.adjusted for g in gains)[0] == pytest.approx(min(1.0, 3 * levels[0]))
    assert all(g.adjusted >= g.p for g in gains)


def test_every_metric_is_tested(tmp_path: Path) -> None:
    from distill_lab.results.rowwise import f1

    models = three(1, 0.85)
    metrics = {
        name: {"accuracy": float((own == LABELS).mean()), "f1": f1(own, LABELS).value()}
        for name, own in models.items()
    }
    made(tmp_path / "run", models, metrics=metrics)
    (line,) = one(tmp_path).students
    assert line.gains["f1"].test == "bootstrap over rows"
    assert line.gains["f1"].p == pytest.approx(line.gains["accuracy"].p, abs=0.05)


def test_less_is_better_for_perplexity(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tokens, base = random.integers(20, 60, size=200), random.normal(3, 0.3, size=200)
    loss = {
        "teacher": base - 0.5,
        "student": base - 0.1 + random.normal(0, 0.1, 200),
        "baseline": base,
    }
    value = {name: float(np.exp(np.average(own, weights=tokens))) for name, own in loss.items()}
    metrics = {name: {"perplexity": found} for name, found in value.items()}
    made(tmp_path / "run", three(1, 0.8), metric="perplexity", metrics=metrics)
    table = pd.DataFrame({"split": "evaluation", "id": range(200), "tokens": tokens, **loss})
    table.to_parquet(tmp_path / "run" / "predictions.parquet")
    found = gain(tmp_path)
    assert found.mean == pytest.approx(value["baseline"] - value["student"]) and found.mean > 0
    assert found.verdict == "better" and found.low > 0


def test_another_evaluation_set_is_tested_on_its_own_rows(tmp_path: Path) -> None:
    models = three(1, 0.9)
    main = np.arange(400) < 250
    metrics = {
        name: {"accuracy": float((own == LABELS)[main].mean()),
               "accuracy_mismatched": float((own == LABELS)[~main].mean())}
        for name, own in models.items()
    }  # fmt: skip
    made(tmp_path / "run", models, metrics=metrics)
    rewritten(tmp_path / "run", split=np.where(main, "evaluation", "mismatched"))
    (line,) = one(tmp_path).students
    assert {name: g.why_not for name, g in line.gains.items()} == dict.fromkeys(
        metrics["student"], ""
    )
    assert line.gains["accuracy_mismatched"].p != line.gains["accuracy"].p


def test_what_rows_do_not_tell_is_not_tested(tmp_path: Path) -> None:
    models = three(1, 0.8)
    metrics = {name: {"accuracy": float((a == LABELS).mean()), "accuracy_corrected": 0.5}
               for name, a in models.items()}  # fmt: skip
    made(tmp_path / "run", models, metrics=metrics)
    (line,) = one(tmp_path).students
    assert "accuracy_corrected is not a metric" in line.gains["accuracy_corrected"].why_not
    assert line.gains["accuracy"].verdict == "better"


def _gone(folder: Path) -> None:
    (folder / "predictions.parquet").unlink()


def _no_file(folder: Path) -> None:
    (folder / "predictions.parquet").write_text("nonsense")


def _cut(folder: Path) -> None:
    file = folder / "predictions.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _no_column(folder: Path) -> None:
    file = folder / "predictions.parquet"
    pd.read_parquet(file).drop(columns=["student"]).to_parquet(file)


def _other_rows(folder: Path) -> None:
    rewritten(folder, id=np.arange(len(LABELS)) + 1)


def _other_answers(folder: Path) -> None:
    rewritten(folder, student=answers(0.3, 9))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_gone, "predictions.parquet: it is not there"),
        (_no_file, "not a parquet file"),
        (_cut, "not a parquet file"),
        (_no_column, "does not hold what accuracy is computed from"),
        (_other_rows, "its rows are not those of the other runs"),
        (_other_answers, "are of different runs: accuracy of the student"),
    ],
)
def test_spoilt_predictions_are_not_tested_and_the_gain_stays(
    tmp_path: Path, spoil: object, why: str
) -> None:
    for seed in (1, 2):
        made(tmp_path / str(seed), three(seed, 0.8), seed=seed)
    spoil(tmp_path / "2")
    found = gain(tmp_path)
    assert found.verdict == "not tested" and why in found.why_not
    assert found.p is None and found.seeds == 2 and found.mean > 0


def test_a_cell_that_cannot_be_tested_leaves_the_others(tmp_path: Path) -> None:
    for temperature in (1.0, 2.0):
        made(tmp_path / str(temperature), three(1, 0.9), temperature=temperature)
    _gone(tmp_path / "1.0")
    assert sorted(line.gain.verdict for line in one(tmp_path).students) == ["better", "not tested"]


def test_runs_without_a_baseline_have_no_gain(tmp_path: Path) -> None:
    models = {name: own for name, own in three(1, 0.8).items() if name != "baseline"}
    made(tmp_path / "run", models)
    (line,) = one(tmp_path).students
    assert line.gains == {} and line.gain is None


def test_predictions_are_read_column_by_column(tmp_path: Path) -> None:
    models = three(1, 0.8)
    made(tmp_path / "run", models)
    found = read_predictions(tmp_path / "run")
    assert found.models == ("teacher", "student", "baseline") and found.rows == len(LABELS)
    assert np.array_equal(found.columns(["student"])["student"], models["student"])
    logits = found.logits("student")
    assert logits is not None and logits.shape == (400, 2)
    assert np.array_equal(logits.argmax(axis=1), models["student"])
    assert found.logits("nobody") is None
    with pytest.raises(DataError, match="it has no column nothing"):
        found.columns(["nothing"])


def test_a_baseline_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_lab.results.asked import Asked

    for temperature in range(30):
        made(tmp_path / str(temperature), three(1, 0.8), temperature=float(temperature))
    read: list[int] = []
    plain = Asked.answers
    monkeypatch.setattr(
        Asked, "answers", lambda own, at, models: read.append(len(models)) or plain(own, at, models)
    )
    comparisons(collect([tmp_path]).results)
    assert len(read) == 30 and sum(read) < 60 and read[-1] == 1


@pytest.mark.slow
def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    """Processor time, for other work may go on beside; 1,000 rows, 250 cells of 4 seeds."""
    import resource
    import time

    labels = np.random.default_rng(1).integers(2, size=1000)
    for seed in range(4):
        baseline = answers(0.7, seed, labels)
        for cell in range(250):
            models = {"teacher": answers(0.9, 0, labels), "baseline": baseline,
                      "student": answers(0.75, 7 * cell + seed, labels)}  # fmt: skip
            made(tmp_path / f"{cell},{seed}", models, seed=seed, temperature=float(cell),
                 labels=labels)  # fmt: skip
    start = time.process_time()
    found = comparisons(collect([tmp_path]).results)
    assert len(found[0].students) == 250 and len(found[0].tested) == 250
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**20  # kB, with the tests' torch


def test_results_know_their_folder(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.8))
    assert Result.read(tmp_path / "run" / "result.json").folder == tmp_path / "run"


def test_models_that_answer_alike_have_no_interval(tmp_path: Path) -> None:
    same = answers(0.8, 5)
    made(tmp_path / "run", {"teacher": answers(0.9, 0), "student": same, "baseline": same})
    found = gain(tmp_path)
    assert (found.mean, found.low, found.high, found.p) == (0.0, None, None, 1.0)
    assert found.alike and found.verdict == "no evidence"
    assert in_words("accuracy", found) == (
        "gain in accuracy: +0.0000; student and baseline answer every row alike, which tells no"
        " interval"
    )
    comparison = one(tmp_path)
    assert "no interval: student and baseline answer every row alike" in " ".join(notes(comparison))
    assert any("+0.0000 [no row differs]" in column.cells for column in columns(comparison))


def test_few_rows_that_differ_are_counted(tmp_path: Path) -> None:
    base = answers(0.8, 5)
    for name, differing in (("few", 2), ("many", FEW)):
        ours = base.copy()
        ours[:differing] = 1 - ours[:differing]
        models = {"teacher": answers(0.9, 0), "student": ours, "baseline": base}
        made(tmp_path / name / "run", models)
    few, many = gain(tmp_path / "few"), gain(tmp_path / "many")
    assert (few.differing, few.rough) == (2, True)
    assert (many.differing, many.rough) == (FEW, False)
    assert in_words("accuracy", few).endswith("the rows alone; they differ on 2 rows")
    assert in_words("accuracy", many).endswith("the rows alone")
    said = " ".join(notes(one(tmp_path / "few")))
    assert "rough: fewer than 10 rows tell student and baseline apart in 1 of 1 cells" in said
    assert "rough: " not in " ".join(notes(one(tmp_path / "many")))
