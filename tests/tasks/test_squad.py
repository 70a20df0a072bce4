"""Questions on paragraphs: read, cut into windows, answered, and scored as the officials do."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.text import SQuAD
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, DataError
from distill_lab.spans import best_ends, of_tokens, span_logits
from distill_lab.squad_evaluation import main, of_files
from distill_lab.tasks import Squad
from distill_lab.tasks.best_spans import best_spans, best_threshold
from distill_lab.tasks.questions import Questions, carve_groups, read_squad, to_questions
from distill_lab.tasks.squad_score import exact, f1, normalized, squad_scores
from distill_lab.tasks.windows import WindowRows, encode_windows
from tests.tasks.squad_files import article, drawn, folder, paragraph, write

CONTEXT = "Ann likes the old house by the sea. Bob, her brother, likes two long stories."


@pytest.fixture(scope="module")
def tokenizer(encoder: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(encoder)
    return found


def questions(path: Path, *articles: dict[str, object], no_answers: bool = False) -> Questions:
    file = write(path / "asked.json", *articles)
    return to_questions(read_squad(file), str(file), no_answers, for_training=True)


def windows(asked: Questions, tokenizer: PreTrainedTokenizerBase, length: int = 24) -> WindowRows:
    return encode_windows(asked, tokenizer, length, stride=6, max_question=8)


# Official figures


def test_v1_gives_the_official_digits(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    squad = shared / "data" / "squad"
    assert main([str(squad / "dev-v1.1.json"), str(squad / "predictions-v1.1.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"exact": 86.20624408703878, "f1": 92.19557978351145, "total": 10570}


def test_v2_gives_the_official_digits(shared: Path) -> None:
    squad = shared / "data" / "squad"
    found = of_files(squad / "dev-v2.0.json", squad / "predictions-v2.0.json")
    assert found["exact"] == 78.74168280973637
    assert found["f1"] == 81.77528052374723
    has, no = 5928, 5945
    assert found["total"] == has + no
    for metric in ("exact", "f1"):
        whole = (found[f"{metric}_has_answer"] * has + found[f"{metric}_no_answer"] * no) / (
            has + no
        )
        assert whole == pytest.approx(found[metric], rel=1e-12)
    assert found["exact_no_answer"] == found["f1_no_answer"]


@pytest.mark.parametrize("seed", range(3))
def test_v1_is_as_torchmetrics_computes_it(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    words = [
        "The",
        "a",
        "an",
        "house",
        "house,",
        "sea!",
        "Old",
        "old",
        "by-the",
        "¿qué",
        "  ",
        "1.5",
    ]

    def draw() -> str:
        """Some words, one of which is left when articles are taken out: there v1.1 differs."""
        return " ".join([*random.choice(words, random.integers(0, 4)), random.choice(words[3:])])

    contexts = [[draw() for _ in range(3)] for _ in range(40)]
    articles = [
        article(
            "a", *(paragraph(" ".join(c), (f"q{i}", "what", c)) for i, c in enumerate(contexts))
        )
    ]
    asked = to_questions(read_squad(write(tmp_path / "f.json", *articles)), "f", False, False)
    given = {f"q{i}": draw() for i in range(40)}
    theirs = SQuAD()
    for name, accepted in zip(asked.names, asked.answers, strict=True):
        target = {"text": list(accepted), "answer_start": [0] * len(accepted)}
        theirs.update({"prediction_text": given[name], "id": name}, {"answers": target, "id": name})
    ours, expected = squad_scores(asked, given, no_answers=False), theirs.compute()
    assert 100 * ours["exact"] == pytest.approx(expected["exact_match"].item(), abs=1e-3)
    assert 100 * ours["f1"] == pytest.approx(expected["f1"].item(), abs=1e-3)
    assert 0 < ours["f1"] < 1


def test_words_count_as_often_as_they_stand_there() -> None:
    assert normalized("The  Old, house!") == "old house"
    assert exact("an old house", "The Old House.") == 1
    assert f1("sea sea", "sea") == pytest.approx(2 / 3)
    assert f1("sea", "house") == 0
    assert f1("", "the") == 0 and f1("", "the", may_be_empty=True) == 1
    assert f1("", "house", may_be_empty=True) == 0


def test_what_is_not_answered_scores_nothing(tmp_path: Path) -> None:
    asked = questions(tmp_path, *drawn(2, 0))
    found = squad_scores(asked, {asked.names[0]: asked.answers[0][0]}, no_answers=False)
    assert found == {"exact": pytest.approx(1 / 12), "f1": pytest.approx(1 / 12)}


# Reading


def test_reading_keeps_questions_answers_and_places(tmp_path: Path) -> None:
    asked = questions(
        tmp_path, article("t", paragraph(CONTEXT, ("q1", "who?", ["Bob", "brother"])))
    )
    assert asked.names == ["q1"] and asked.answers == [("Bob", "brother")]
    assert CONTEXT[slice(*asked.labels[0])] == "Bob"


def test_an_answer_elsewhere_is_moved_to_the_nearest_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = paragraph(CONTEXT, ("q1", "what?", ["likes"]))
    one["qas"][0]["answers"][0]["answer_start"] = CONTEXT.rfind("likes") + 2
    with caplog.at_level(logging.WARNING):
        asked = questions(tmp_path, article("t", one))
    assert asked.labels[0].tolist() == [CONTEXT.rfind("likes"), CONTEXT.rfind("likes") + 5]
    assert (
        "1 questions have an answer that stands elsewhere and was moved, such as q1" in caplog.text
    )


def test_what_cannot_be_learned_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = paragraph(CONTEXT, ("lost", "who?", ["Zoe"]), ("good", "who?", ["Bob"]))
    empty = paragraph("  ", ("empty", "who?", ["Bob"]))
    file = write(tmp_path / "f.json", article("t", rows, empty))
    with caplog.at_level(logging.WARNING):
        learned = to_questions(read_squad(file), "f", False, for_training=True)
    assert learned.names == ["good"] and learned.ids.tolist() == [1]
    assert "1 questions have an answer that does not occur in its paragraph" in caplog.text
    assert "such as lost" in caplog.text
    assert "1 questions have no text or an empty paragraph and are left out, such as empty" in (
        caplog.text
    )
    scored = to_questions(read_squad(file), "f", False, for_training=False)
    assert scored.names == ["lost", "good", "empty"]


BROKEN = {
    "nothing": ("", "not a JSON file"),
    "no JSON": ("{data", "not a JSON file"),
    "a list": ("[1]", "not a SQuAD file"),
    "other keys": ('{"rows": []}', "not a SQuAD file"),
    "no questions": ('{"data": []}', "there are no questions"),
    "no id": ('{"data": [{"paragraphs": [{"context": "a", "qas": [{}]}]}]}', "not a SQuAD file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str, tmp_path: Path) -> None:
    text, said = BROKEN[name]
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{path}: {said}"):
        to_questions(read_squad(path), str(path), False, for_training=True)


def test_binary_and_absent_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    with pytest.raises(DataError, match="there is no such file"):
        list(read_squad(path))
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_squad(path))


def test_a_question_without_answer_needs_v2(tmp_path: Path) -> None:
    one = article("t", paragraph(CONTEXT, ("q1", "who?", [])))
    with pytest.raises(DataError, match=r"question q1 has no answer; .* task=squad_v2"):
        questions(tmp_path, one)
    asked = questions(tmp_path, one, no_answers=True)
    assert asked.answers == [()] and asked.labels.tolist() == [[-1, -1]]


def test_an_id_that_stands_for_two_questions_is_refused(tmp_path: Path) -> None:
    twice = paragraph(CONTEXT, ("q1", "who?", ["Bob"]), ("q1", "what?", ["sea"]))
    with pytest.raises(DataError, match="the id q1 stands for two questions"):
        questions(tmp_path, article("t", twice))


def test_articles_are_not_divided(tmp_path: Path) -> None:
    asked = questions(tmp_path, *drawn(20, 1))
    rest, part = carve_groups(asked, 0.2)
    assert len(rest) + len(part) == len(asked) == 120 and len(part) == 24
    assert not set(rest.groups) & set(part.groups)
    assert carve_groups(asked, 0.2)[1].names == part.names
    assert len(carve_groups(asked, 0.5, 13)[1]) == 12
    few = asked.take(np.flatnonzero(asked.groups < 2))
    rest, part = carve_groups(few, 0.25)
    assert rest.pair is not None and part.pair is not None
    assert len(part) == 3 and not set(rest.pair) & set(part.pair)
    with pytest.raises(DataError, match="3 questions on one paragraph cannot be divided"):
        carve_groups(part, 0.5)


def test_fingerprint_changes_with_everything(tmp_path: Path) -> None:
    base = ("q1", "who?", ["Bob"])
    others = [
        paragraph(CONTEXT, ("q2", "who?", ["Bob"])),
        paragraph(CONTEXT, ("q1", "who", ["Bob"])),
        paragraph(CONTEXT + " ", base),
        paragraph(CONTEXT, ("q1", "who?", ["Bob", "brother"])),
        paragraph(CONTEXT, ("q1", "who?", ["Ann"])),
    ]
    prints = [
        questions(tmp_path, article("t", one)).fingerprint()
        for one in (paragraph(CONTEXT, base), *others)
    ]
    assert len(set(prints)) == len(prints)


# Windows


def test_windows_cover_the_paragraph_and_overlap(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    asked = questions(tmp_path, article("t", paragraph(CONTEXT * 3, ("q1", "who?", ["Bob"]))))
    rows = windows(asked, tokenizer)
    assert len(rows) > 3 and rows.lengths.max() <= 24
    parts = [rows.characters[a:b] for a, b in zip(rows.offsets, rows.offsets[1:], strict=False)]
    spans = [part[part[:, 0] >= 0] for part in parts]
    covered = np.zeros(len(CONTEXT * 3), dtype=bool)
    for span in spans:
        for start, end in span:
            covered[start:end] = True
    assert all(covered | [letter == " " for letter in CONTEXT * 3])
    for before, after in itertools.pairwise(spans):
        assert after[0, 0] == before[-6, 0]  # six tokens in common
    assert rows.ids.tolist() == list(range(len(rows)))
    assert rows.things == 1


def test_labels_are_the_answer_where_the_window_holds_it(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    asked = questions(tmp_path, *drawn(8, 3))
    rows = windows(asked, tokenizer)
    owners, inside = rows.question_of(), 0
    for window, (first, last) in enumerate(rows.labels):
        part = rows.characters[rows.offsets[window] : rows.offsets[window + 1]]
        start, end = asked.labels[owners[window]]
        seen = part[part[:, 0] >= 0]
        if seen[0, 0] <= start and end <= seen[-1, 1]:
            inside += 1
            assert rows.text(window, first, last) == asked.answers[owners[window]][0]
        else:
            assert (first, last) == (0, 0)
    assert len(rows) > len(asked) and inside >= len(asked)
    assert set(owners[rows.labels[:, 1] > 0]) == set(range(len(asked)))


def test_real_answers_are_found_again(shared: Path) -> None:
    path = shared / "data" / "squad" / "small-train-v1.1.json"
    asked = to_questions(read_squad(path), "train", False, for_training=True)
    few = asked.take(np.arange(0, len(asked), 20))
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "minilm-l6-h384")
    rows = encode_windows(few, tokenizer, 128, stride=48, max_question=32)
    owners, found = rows.question_of(), dict[int, str]()
    for window, (first, last) in enumerate(rows.labels):
        if last > 0:
            found[owners[window]] = rows.text(window, first, last)
    assert len(found) >= 0.99 * len(few)  # an answer may be longer than the overlap
    agree = [exact(text, few.answers[owner][0]) for owner, text in found.items()]
    assert np.mean(agree) > 0.98  # a token may hold more than the answer, as 1950 of 1950s


def test_long_questions_are_cut_and_told(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    long = "who " * 30
    asked = questions(tmp_path, article("t", paragraph(CONTEXT, ("q9", long, ["Bob"]))))
    with caplog.at_level(logging.WARNING):
        rows = windows(asked, tokenizer)
    assert "1 questions are cut at 8 tokens (task.max_question), such as q9" in caplog.text
    assert rows.labels.max() > 0


def test_the_store_gives_back_what_was_kept(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    asked = questions(tmp_path, *drawn(3, 3))
    rows = windows(asked, tokenizer)
    again = WindowRows.restored(asked, rows.arrays(), tokenizer)
    ours, theirs = (each.__getitems__([3, 0, 5]) for each in (rows, again))
    assert torch.equal(ours.labels, theirs.labels) and torch.equal(ours.ids, theirs.ids)
    assert ours.asked is not None and theirs.asked is not None
    assert torch.equal(ours.asked, theirs.asked)
    assert all(torch.equal(ours.inputs[name], theirs.inputs[name]) for name in ours.inputs)
    assert ours.count("answers") == 6 and ours.count("rows") == 3


def test_answers_lie_in_the_paragraph_alone(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    asked = questions(tmp_path, article("t", paragraph(CONTEXT, ("q1", "who?", ["Bob"]))))
    batch = windows(asked, tokenizer, 64).__getitems__([0])
    assert batch.asked is not None
    ids = batch.inputs["input_ids"][0]
    context = tokenizer(CONTEXT, add_special_tokens=False)["input_ids"]
    assert ids[batch.asked[0]].tolist() == context


# Answers


def brute(ends: np.ndarray, rows: WindowRows, longest: int) -> dict[str, tuple[str, float]]:
    """The best answer by looking at every pair."""
    found: dict[str, tuple[str, float]] = {}
    none: dict[str, float] = {}
    for window, (start, end) in enumerate(ends):
        name = rows.questions.names[rows.question_of()[window]]
        none[name] = min(none.get(name, np.inf), start[0, 1] + end[0, 1])
        for s, s_logit in start[1:]:
            for e, e_logit in end[1:]:
                value = s_logit + e_logit
                if 0 <= e - s < longest and value > found.get(name, ("", -np.inf))[1]:
                    found[name] = rows.text(window, int(s), int(e)), value
    return {name: (text, none[name] - value) for name, (text, value) in found.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_windows_is_given(
    seed: int, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = windows(questions(tmp_path, *drawn(4, seed)), tokenizer)
    torch.manual_seed(seed)
    batch = rows.__getitems__(range(len(rows)))
    assert batch.asked is not None
    logits = span_logits(*torch.randn(2, *batch.mask.shape), batch.mask)
    ends = best_ends(logits, batch.asked, 5).numpy()
    expected = brute(ends, rows, 4)
    found = best_spans(ends, rows, 4)
    assert set(found) == set(rows.questions.names)
    for name, (text, margin) in expected.items():
        assert found[name].text == text
        assert found[name].none_over_best == pytest.approx(margin, abs=1e-5)
    at = np.asarray([4, 1, 2])
    some = best_spans(ends[at], rows, 4, at)
    assert set(some) == {rows.questions.names[i] for i in rows.asked_questions(at)}


def test_ends_are_the_likeliest_of_the_paragraph() -> None:
    logits = torch.tensor([[9.0, 1.0, 5.0, 3.0], [8.0, 2.0, 1.0, 7.0]])
    asked = torch.tensor([[False, True, True, False]])
    found = best_ends(logits, asked, 3)
    assert found[0, 0, :3].tolist() == [[0, 9], [2, 5], [1, 1]]
    assert found[0, 1, :3].tolist() == [[0, 8], [1, 2], [2, 1]]
    assert torch.isinf(found[0, :, 3, 1]).all()


def test_no_window_answer_means_an_empty_text(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = windows(questions(tmp_path, *drawn(1, 0)), tokenizer, 64)
    ends = np.zeros((len(rows), 2, 3, 2), dtype=np.float32)
    ends[:, 0, 1:, 0], ends[:, 1, 1:, 0] = 9, 8  # every end before its beginning
    assert {span.text for span in best_spans(ends, rows, 5).values()} == {""}


def test_masking_is_the_same_whatever_the_padding() -> None:
    torch.manual_seed(0)
    start, end = torch.randn(2, 1, 5)
    short = span_logits(start, end, torch.ones(1, 5, dtype=torch.int64))
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    wide = [torch.cat([side, torch.full((1, 2), 50.0)], dim=1) for side in (start, end)]
    long = span_logits(*wide, mask)
    torch.testing.assert_close(long.softmax(-1)[:, :5], short.softmax(-1))
    assert (long.softmax(-1)[:, 5:] == 0).all()
    assert ((long / 100).softmax(-1)[:, 5:] == 0).all()
    torch.testing.assert_close(of_tokens(long, mask), torch.stack([start[0], end[0]], dim=1))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_that_of_a_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    margins, given, nothing = random.normal(size=(3, 40))
    margins[3] = np.inf

    def total(threshold: float) -> float:
        return float(np.where(margins <= threshold, given, nothing).sum())

    found = total(best_threshold(margins, given, nothing))
    edges = np.sort(margins)
    everything = [edges[0] - 1, *(edges[:-1] + edges[1:]) / 2, np.inf]
    assert found == pytest.approx(max(total(threshold) for threshold in everything))


# The task


def squad(path: Path, **settings: object) -> Squad:
    given = {"max_length": 32, "stride": 8, "max_question": 8, **settings}
    files = {"train": "train.json", "evaluation": "dev.json"}
    return Squad(name="squad", files=files, data_dir=str(path), **given)  # type: ignore[arg-type]


MISFITS = {
    "no room": ({"max_length": 20}, "task.max_length=20: a question of task.max_question=8"),
    "negative overlap": ({"stride": -1}, "task.stride=-1: at least 0"),
    "no answer": ({"max_answer": 0}, "task.max_answer=0: at least 1"),
    "unknown metric": ({"metrics": ["accuracy"]}, "choose at least one of f1, exact"),
    "no folder": ({"data_dir": "nowhere"}, "task.data_dir=nowhere: there is no such folder"),
    "files": ({"files": {"train": "a"}}, "name two files, train and evaluation"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_settings_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    settings, said = MISFITS[name]
    given = {
        "name": "squad", "data_dir": str(tmp_path), "files": {"train": "a", "evaluation": "b"},
        "max_length": 32, "stride": 8, "max_question": 8, **settings,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        Squad(**given)  # type: ignore[arg-type]


def test_no_answer_needs_to_be_likelier_by_the_threshold(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    task = squad(folder(tmp_path / "data", unanswerable=True), no_answers=True)
    rows = task.tokens(task.load().evaluation["evaluation"], tokenizer)
    assert isinstance(rows, WindowRows)
    ends = torch.zeros(len(rows), 2, 2, 2)
    first = rows.asked(range(len(rows))).int().argmax(dim=1)  # of the paragraph, in each window
    ends[:, :, 1, 0] = first[:, None].float()
    ends[:, 0, 0, 1] = 1.0  # "no answer" is likelier by 1
    never = task.score(ends, rows)
    assert never["f1_no_answer"] == 1 and never["f1_has_answer"] == 0
    task.no_answer_threshold = 1.5
    always = task.score(ends, rows)
    assert always["f1_no_answer"] == 0
    assert list(always)[:2] == ["f1", "exact"]
    assert task.chance(rows, rows) == pytest.approx(0.25)
