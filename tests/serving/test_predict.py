"""`distill-lab predict`: the answers are those of the run, in order, in the file's own format."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from distill_lab.errors import UsageError
from distill_lab.serving import asking
from distill_lab.serving.served import open_run
from distill_lab.verbs.predict import main
from tests.conftest import BAD, GOOD

Finished = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def predictions(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "predictions.parquet").sort_values("id")


def direct(run: Path, texts: list[str]) -> list[str]:
    """What transformers itself answers."""
    model = AutoModelForSequenceClassification.from_pretrained(run / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    tokens = [tokenizer(text, return_tensors="pt", truncation=True) for text in texts]
    return [model.config.id2label[int(model(**each).logits.argmax())] for each in tokens]


def typed(run: Path, text: bytes, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    class Input:
        buffer = io.BytesIO(text)

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Input())
    return main([str(run), *more])


# The answers are those that the run left


def test_labels_are_those_of_the_run(finished: Finished, tmp_path: Path) -> None:
    run = finished("classes")
    told = predictions(run)
    rows = pd.read_csv(run.parent / "reviews.csv").iloc[told.id]
    rows.to_csv(tmp_path / "in.csv", index=False)
    main([str(run), "--file", f"{tmp_path}/in.csv", "-o", f"{tmp_path}/out.csv",
          "--probabilities", "--batch-size", "7"])  # fmt: skip
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == [
        "text", "label", "prediction", "probability", "probability_negative",
        "probability_positive",
    ]  # fmt: skip
    assert found[["text", "label"]].to_numpy().tolist() == rows.to_numpy().tolist()
    names = np.asarray(["negative", "positive"])
    assert found.prediction.tolist() == names[told.student].tolist()
    logits = np.stack(told.student_logits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(found.filter(like="probability_"), shares, atol=2e-6)
    assert np.allclose(found.probability, shares.max(axis=1), atol=2e-6)
    assert len(set(told.student)) == 2  # both labels are among the answers


def test_numbers_are_those_of_the_run_and_the_official_layout_stays(
    finished: Finished, tmp_path: Path
) -> None:
    run = finished("numbers")
    dev = run.parent / "STS-B" / "dev.tsv"
    main([str(run), "--file", str(dev), "-o", f"{tmp_path}/out.tsv"])
    found = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert np.allclose(found.prediction, predictions(run).student, atol=1e-4)
    assert list(found.columns)[:4] == ["index", "sentence1", "sentence2", "score"]


def test_answers_to_questions_are_those_of_the_run(finished: Finished, tmp_path: Path) -> None:
    run, told = finished("spans"), predictions(finished("spans"))
    dev = run.parent / "squad" / "dev.json"
    main([str(run), "--file", str(dev), "-o", f"{tmp_path}/out.json"])
    content = json.loads((tmp_path / "out.json").read_text())
    found = {
        asked["id"]: asked["prediction"]
        for article in content["data"] for part in article["paragraphs"] for asked in part["qas"]
    }  # fmt: skip
    assert found == dict(zip(told.question, told.student, strict=True))
    assert len(set(found.values())) > 3
    flat = tmp_path / "flat.jsonl"
    rows = [
        {"n": 7, "question": asked["question"], "context": part["context"], "id": asked["id"]}
        for article in content["data"] for part in article["paragraphs"] for asked in part["qas"]
    ]  # fmt: skip
    flat.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main([str(run), "--file", str(flat), "-o", f"{tmp_path}/flat_out.jsonl"])
    lines = [json.loads(line) for line in (tmp_path / "flat_out.jsonl").read_text().splitlines()]
    assert lines == [{**row, "prediction": found[row["id"]]} for row in rows]


def test_labels_of_pictures_are_those_of_the_run(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    from PIL import Image

    run = finished("pictures")
    rows = open_run(run).data().evaluation["evaluation"]
    paths = []
    for at in range(20):
        paths.append(tmp_path / f"{at}.png")
        Image.fromarray(rows.pixels[at, ..., 0]).save(paths[-1])  # type: ignore[attr-defined]
    main([str(run), *map(str, paths)])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [str(n) for n in predictions(run).student[:20]]
    assert [line[2] for line in lines] == list(map(str, paths))


def test_replies_are_those_of_the_run(finished: Finished, tmp_path: Path) -> None:
    run, told = finished("instruction"), predictions(finished("instruction"))
    main([str(run), "--file", f"{run.parent}/test.jsonl", "-o", f"{tmp_path}/out.jsonl"])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == told.student.tolist()
    assert any(line["prediction"] for line in lines)


def test_messages_are_prompts(finished: Finished, tmp_path: Path) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    talk = [{"role": "user", "content": "abc ="}]
    file.write_text(json.dumps({"prompt": talk}) + "\n" + json.dumps({"prompt": "abc ="}) + "\n")
    main([str(finished("instruction")), "--file", str(file), "-o", str(out)])
    both = [json.loads(line) for line in out.read_text().splitlines()]
    assert both[0]["prompt"] == talk and both[0]["prediction"] == both[1]["prediction"]


def test_hidden_words_are_the_likeliest(finished: Finished, capsys: Capture) -> None:
    import torch

    run = finished("masked")
    served = open_run(run)
    assert served.tokenizer is not None
    main([str(run), "the film [MASK] quite [MASK]", "no word is hidden"])
    out, said = capsys.readouterr()
    first, second = out.splitlines()
    given = served.tokenizer("the film [MASK] quite [MASK]", return_tensors="pt")
    with torch.no_grad():
        shares = served.model(**given).logits[0].softmax(-1)
    hidden = shares[given["input_ids"][0] == served.tokenizer.mask_token_id]
    words = [served.tokenizer.decode([at]).strip() for at in hidden.argmax(-1)]
    assert first.split("\t")[0] == " ".join(words)
    assert float(first.split("\t")[1]) == pytest.approx(float(hidden.amax(-1).prod()), rel=1e-4)
    assert second == "\t\tno word is hidden" and "1 row has no [MASK]" in said


def test_texts_go_on_with_the_likeliest_words(finished: Finished, capsys: Capture) -> None:
    import torch

    run = finished("causal")
    served = open_run(run)
    assert served.tokenizer is not None
    main([str(run), "the film", "a long story about", "--new-tokens", "5"])
    lines = capsys.readouterr().out.splitlines()
    for line, text in zip(lines, ["the film", "a long story about"], strict=True):
        ids = served.tokenizer(text, return_tensors="pt")["input_ids"]
        start = ids.shape[1]
        for _ in range(5):
            with torch.no_grad():
                ids = torch.cat([ids, served.model(ids).logits[:, -1:].argmax(-1)], dim=1)
        told = " ".join(served.tokenizer.decode(ids[0, start:]).split())
        assert line == f"{told}\t{text}"


# Order, formats, standard input


def test_order_does_not_depend_on_length(finished: Finished, capsys: Capture) -> None:
    texts = [f"{'the film ' * n}{word}" for n, word in zip((9, 0, 4, 12), "abcd", strict=True)]
    main([str(finished("classes")), *texts, "--batch-size", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[2] for line in lines] == texts


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_keeps_its_columns(ending: str, finished: Finished, tmp_path: Path) -> None:
    table = pd.DataFrame({
        "n": ["007", "1,5", "", "x"],
        "words": [f'a "{GOOD[0]}" film', f"a\ttab, {BAD[0]}", f"line\n {GOOD[1]}", f"é {BAD[1]}"],
    })  # fmt: skip
    file, out = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    if ending == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    elif ending == "parquet":
        table.to_parquet(file)
    else:
        table.to_csv(file, index=False, sep="," if ending == "csv" else "\t")
    main([str(finished("classes")), "--file", str(file), "-o", str(out), "--text", "words"])
    if ending == "jsonl":
        found = pd.DataFrame([json.loads(line) for line in out.read_text().splitlines()])
    elif ending == "parquet":
        found = pd.read_parquet(out)
    else:
        found = pd.read_csv(
            out, dtype=str, keep_default_na=False, sep="," if ending == "csv" else "\t"
        )
    assert found[["n", "words"]].equals(table)
    assert found.prediction.tolist() == direct(finished("classes"), table.words.tolist())
    assert (found.probability.astype(float) > 0.5).all()


def test_values_of_json_lines_stay_as_they_are(finished: Finished, tmp_path: Path) -> None:
    rows = [
        {"text": f"a {GOOD[0]} film", "n": 1, "deep": {"a": [1, None]}, "f": 1.0},
        {"n": 12345678901234567890, "text": "half \ud800 a character"},
    ]
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    main([str(finished("classes")), "--file", str(file), "-o", str(out)])
    found = [json.loads(line) for line in out.read_text().splitlines()]
    answers = [(row.pop("prediction"), row.pop("probability")) for row in found]
    assert found == rows and answers[0][0] == "positive"


def test_lines_are_answered_as_they_come(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    text = f"\ufeffa {GOOD[0]} film\r\n\na {BAD[0]} film".encode()
    typed(finished("classes"), text, monkeypatch)
    out, said = capsys.readouterr()
    lines = [line.split("\t") for line in out.split("\n")]
    assert [line[0] for line in lines] == ["positive", "", "negative", ""]
    assert lines[0][2] == f"a {GOOD[0]} film" and lines[1][2] == ""
    assert "1 row has no text, the first at line 2" in said


def test_lines_do_not_wait_for_the_end(finished: Finished) -> None:
    from distill_lab.serving.predicting import of_stream

    class Slow(io.BytesIO):
        """Gives a line at a time, as somebody types."""

        asked = 0

        def read1(self, size: int | None = -1) -> bytes:
            self.asked += 1
            return self.readline()

    source = Slow(f"{GOOD[0]}\n{BAD[0]}\n".encode())
    answers = of_stream(open_run(finished("classes")), source, asking.Options())
    assert next(answers).startswith("positive") and source.asked == 1
    assert next(answers).startswith("negative") and next(answers, None) is None


def test_nothing_on_standard_input_is_no_line(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert typed(finished("classes"), b"", monkeypatch) == 0
    assert capsys.readouterr().out == ""


def test_pairs_stand_around_a_tab(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run = finished("numbers")
    typed(run, b"the film\ta story\n", monkeypatch)
    main([str(run), "the film", "a story"])
    one, other = capsys.readouterr().out.splitlines()
    assert one == other and one.endswith("\tthe film\ta story")


def test_rows_are_cut_as_in_training(finished: Finished, capsys: Capture) -> None:
    run = finished("classes")
    main([str(run), "the film " * 100 + GOOD[0], "the film " * 100])
    one, other = capsys.readouterr().out.splitlines()
    assert one.split("\t")[:2] == other.split("\t")[:2]


# What cannot be used


def test_rows_without_text_have_no_answer(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "in.csv").write_text(f'text,n\n{GOOD[0]},1\n"  ",2\n,3\n{BAD[0]},4\n')
    main([str(finished("classes")), "--file", f"{tmp_path}/in.csv", "-o", f"{tmp_path}/out.csv"])
    found = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert found.prediction.tolist() == ["positive", "", "", "negative"]
    assert "2 rows have no text, the first at" in (said := capsys.readouterr().err)
    assert "in.csv, line 3" in said


FAULTS: dict[str, tuple[str, bytes, list[str], str]] = {
    "no file": ("", b"", [], "there is no such file"),
    "empty": ("a.csv", b"", [], "the file is empty"),
    "no rows": ("a.csv", b"text,label\n", [], "the file has no rows"),
    "no column": ("a.csv", b"txt,label\na,b\n", [], "no column .text.; did you mean .txt."),
    "chosen column": ("a.csv", b"text\na\n", ["--text", "words"], "no column 'words'"),
    "not utf-8": ("a.csv", b"text\nfine\n\xff\xfe\n", [], "line 3: not UTF-8"),
    "not utf-8 json": ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', [], "line 2: not UTF-8"),
    "broken json": ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', [], "line 3: not JSON"),
    "no object": ("a.jsonl", b'["a"]\n', [], "line 1: not an object"),
    "ragged": ("a.csv", b"text,b\na,b\nc,d,e\n", [], "line 3: 3 columns where the header has 2"),
    "taken": ("a.csv", b"text,prediction\na,b\n", [], "it has a column 'prediction' already"),
    "ending": ("a.txt", b"a\n", [], "the ending is none of"),
    "no parquet": ("a.parquet", b"text", [], "not a readable parquet file"),
    "other format": ("a.csv", b"text\na\n", ["-o", "{}/o.jsonl"], "let its name end in .csv"),
    "over itself": ("a.csv", b"text\na\n", ["-o", "{}/a.csv"], "it is the file that is read"),
    "batch": ("a.csv", b"text\na\n", ["--batch-size", "0"], "--batch-size 0: at least 1"),
    "device": ("a.csv", b"text\na\n", ["--device", "abacus"], "--device abacus"),
    "submission": ("a.csv", b"text\na\n", ["--submission", "{}/s"], "no task of GLUE or SQuAD"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_used_is_named(name: str, finished: Finished, tmp_path: Path) -> None:
    file, content, more, said = FAULTS[name]
    path = tmp_path / (file or "missing.csv")
    if file:
        path.write_bytes(content)
    given = [each.format(tmp_path) for each in more]
    if "-o" not in given and "--submission" not in given:
        given += ["-o", str(tmp_path / f"out{path.suffix}")]
    with pytest.raises(UsageError, match=said) as raised:
        main([str(finished("classes")), "--file", str(path), *given])
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == ([path] if file else [])  # nothing is left


def test_a_line_that_is_no_text_ends_after_those_before_it(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with pytest.raises(UsageError, match="standard input, line 3: not UTF-8"):
        typed(finished("classes"), f"{GOOD[0]}\n{BAD[0]}\n\xff\n".encode("latin-1"), monkeypatch)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_file_is_not_answered_as_a_text(finished: Finished, tmp_path: Path) -> None:
    for name, how in (
        ("rows.csv", "type --file {0}"),
        ("lines.txt", "distill-lab predict {1} < {0}"),
    ):
        path, run = tmp_path / name, finished("classes")
        path.write_text("text\ngood\n")
        with pytest.raises(UsageError, match="a file, of which the name would be") as raised:
            main([str(run), "a text", str(path)])
        assert str(raised.value).endswith(how.format(path, run))
    with pytest.raises(UsageError, match="there is no such file"):
        main([str(finished("classes")), "--file", str(tmp_path / "nope.txt")])
    with pytest.raises(
        UsageError, match=r"the ending is none of .* is read by distill-lab predict"
    ):
        main([str(finished("classes")), "--file", str(tmp_path / "lines.txt")])


def test_a_text_without_a_run_is_told_what_comes_first() -> None:
    with pytest.raises(UsageError, match="its folder comes first, as in distill-lab predict RUN"):
        main(["a text"])


def test_folders_that_are_no_finished_runs_are_named(finished: Finished, tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "nowhere", "no such run"), (tmp_path, "no result.json")):
        with pytest.raises(UsageError, match=said):
            main([str(folder), "a text"])
    shutil.copytree(finished("classes"), tmp_path / "study" / "run")
    with pytest.raises(UsageError, match=r"its runs are folders below it, such as .*run"):
        main([str(tmp_path / "study"), "a text"])
    shutil.rmtree(tmp_path / "study" / "run" / "student")
    with pytest.raises(UsageError, match="no student/ folder"):
        main([str(tmp_path / "study" / "run"), "a text"])


def test_data_that_are_gone_are_not_needed(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    made = tmp_path / "run"
    shutil.copytree(finished("numbers"), made)
    config = made / "config.yaml"
    gone = config.read_text().replace(str(finished("numbers").parent), "/nowhere")
    config.write_text(gone)
    main([str(made), "the film", "a story"])
    main([str(finished("numbers")), "the film", "a story"])
    one, other = capsys.readouterr().out.splitlines()
    assert one == other


def test_an_interrupted_answer_leaves_nothing(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.csv").write_text("text\na\n")

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([str(finished("classes")), "--file", f"{tmp_path}/in.csv", "-o", f"{tmp_path}/o.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_the_teacher_answers_where_the_store_has_it(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    run = finished("classes")
    told = predictions(run)
    texts = pd.read_csv(run.parent / "reviews.csv").text.iloc[told.id]
    main([str(run), *texts, "--model", "teacher"])
    names = ["negative", "positive"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [names[at] for at in told.teacher]
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(run.parent), str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match=r"the teacher of .* is not there any more"):
        main([str(tmp_path / "run"), "a text", "--model", "teacher"])
