"""Errors of use: one sentence that names the key or file, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_lab.cli import main
from distill_lab.errors import ModelError
from distill_lab.models import load_tokenizer
from tests.conftest import sentences, tiny

CONFIGURATION = {
    "misspelt root key": ("sed=3", "sed: not a key of the configuration; did you mean 'seed'?"),
    "misspelt task key": ("task.max_lenght=32", "task.max_lenght: not a parameter of"),
    "misspelt objective key": ("objective.temprature=4", "did you mean 'temperature'?"),
    "misspelt trainer key": ("trainer.max_step=20", "did you mean 'max_steps'?"),
    "misspelt callback key": ("callbacks.distillation.lam_ned=1", "did you mean 'lam_end'?"),
    "root value of a wrong type": ("seed=abc", "seed=abc: a whole number is needed"),
    "number that is a word": ("optim.batch_size=many", "optim.batch_size: 'many' is not a whole"),
    "trainer value of a wrong type": ("trainer.max_epochs=three", "trainer.max_epochs: 'three'"),
    "unknown precision": ("trainer.precision=fp8", "trainer.precision: 'fp8' is not"),
    "unknown schedule": ("callbacks.distillation.lam_schedule=cubic", "'cubic' is not 'constant'"),
    "unknown objective": ("objective=hintom", "objective=hintom: there is no such choice; did you"),
    "unknown task": ("task=glue/sst3", "task=glue/sst3: there is no such choice; did you mean"),
    "unknown group": ("objectiv=hinton", "objectiv: not a key of the configuration; did you mean"),
    "value that is mandatory": ("student=pretrained", "student.model: no value is given"),
    "override without a value": ("objective.temperature", "objective.temperature"),
    "key without its group": ("max_epochs=1", "did you mean 'trainer.max_epochs'?"),
    "key of two groups": ("epochs=1", "did you mean 'teacher.epochs' or 'trainer.max_epochs'?"),
    "another name of T": ("objective.T=4", "did you mean 'temperature'?"),
    "another name of lam": ("alpha=0.3", "did you mean 'objective.lam' or 'objective.alpha'?"),
    "epochs of the trainer": ("trainer.epochs=1", "did you mean 'max_epochs'?"),
    "model as a choice": ("teacher=bert", "a model is named by teacher.model=bert"),
    "values without -m": ("objective.temperature=1,4", "temperature=1,4: several values want -m"),
    "a dry run without -m": (
        "seed=1,2 launch.dry_run=true",
        "seed=1,2: several values want -m",
    ),
    "a run that trains nothing": ("trainer.max_epochs=0", "trainer.max_epochs=0: at least 1 is"),
    "steps that train nothing": ("trainer.max_steps=0", "trainer.max_steps=0: at least 1 is"),
    "a model as a flag": ("--model=bert", "did you mean 'teacher.model' or 'student.model'?"),
    "a run that is not there": ("resume=nowhere", "resume=nowhere: there is no such run"),
    "interval without -m": ("objective.lam=interval(0,1)", "type -m hydra/sweeper=optuna too"),
    "blanks": (
        "objective.lam = 1",
        "objective.lam: cannot be read; an override is typed",
    ),
    "blank between values": ("objective.temperature=1, 2", "values are typed without blanks"),
    "group of another name": (
        "optimizer.lr=1",
        "optimizer.lr: not a key of the configuration; did",
    ),
    "misspelt group": ("objctive.lam=1", "did you mean 'objective.lam'?"),
    "misspelt key of launch": ("launch.dryrun=true", "did you mean 'launch.dry_run'?"),
    "unknown key of launch": ("launch.foo=1", "launch.foo: not a key of the configuration (launch"),
    "letters in another order": ("optim.rl=1", "did you mean 'lr'?"),
    "another word for a key": (
        "objective.hotness=1",
        "hotness: not a parameter of distill_lab.objec",
    ),
    "format as a task": ("task=csv", "did you mean 'text_classification'?"),
    "neither true nor false": ("baseline=maybe", "baseline=maybe: true or false is needed"),
    "key as a flag": ("--dry-run", "without dashes; did you mean 'launch.dry_run'?"),
    "key with dashes": ("--study=mine", "--study: no such flag; a key is typed without dashes"),
    "target that does not exist": ("objective._target_=distill_lab.objectives.No", "cannot be"),
    "lam above 1": ("objective.lam=1.5", "objective.lam=1.5: lam weighs"),
    "lam below 0": ("objective.lam=-0.1", "objective.lam=-0.1: lam weighs"),
    "lam that ends above 1": ("callbacks.distillation.lam_end=2", "lam_end=2: lam weighs"),
    "temperature 0": ("objective.temperature=0", "objective.temperature=0: a temperature, from"),
    "temperature below 0": (
        "objective.temperature=-2",
        "objective.temperature=-2: a temperature, from 0.01",
    ),
    "temperature that ends at 0": (
        "callbacks.distillation.temperature_end=0",
        "temperature_end=0: a temperature",
    ),
    "learning rate 0": ("optim.lr=0", "optim.lr=0: the learning rate must be above 0"),
    "batch of no rows": ("optim.batch_size=0", "optim.batch_size=0: at least 1 row"),
    "teacher of no epochs": ("teacher.epochs=0", "teacher.epochs=0: at least 1"),
    "teacher's batch of no rows": ("teacher.batch_size=0", "teacher.batch_size=0: at least 1"),
    "seed below 0": ("seed=-1", "seed=-1: 0 or more"),
    "devices without end": (
        "trainer.devices=2147483648",
        "trainer.devices=2147483648: at most 1024",
    ),
    "workers below 0": ("workers=-1", "workers=-1: 0 to 64"),
    "workers without end": ("workers=1000000", "workers=1000000: 0 to 64"),
    "one beta": ("optim.betas=[0.9]", "optim.betas=[0.9]: two numbers from 0"),
    "eps below 0": ("optim.eps=-1", "optim.eps=-1: must not be negative"),
    "selection of everything": ("task.selection=1", "task.selection=1: a share"),
    "unknown metric": ("task.metrics=[acuracy]", "task.metrics=['acuracy']: choose at least one"),
    "metric of another kind": ("task.metrics=[pearson]", "pearson is not defined for classif"),
    "more layers than the teacher": ("student.num_layers=9", "the teacher has 4 layers"),
    "layer that is not there": ("student.select=[0,9]", "student.select=[0, 9]: 2 layers between"),
    "distilbert's layers": (
        "student.select=distilbert",
        "here it would be 2 of 4; use",
    ),
    "width between heads": (
        "student.hidden_size=20",
        "student.hidden_size=20: heads keep",
    ),
    "more units": ("student.intermediate_size=99", "student.intermediate_size=99: the teacher has"),
    "no rows to weigh": ("student.importance_rows=0", "student.importance_rows=0: at least 1"),
    "another architecture": (
        "student.architecture=gpt2",
        "student.architecture=gpt2: weights",
    ),
    "ensemble of none": ("teacher=ensemble teacher.models=[]", "needs at least one model"),
    "ensemble's weights": (
        "teacher=ensemble teacher.models=[./a] teacher.weights=[]",
        "one for each",
    ),
    "ensemble's member": (
        "teacher=ensemble teacher.models=[./nowhere]",
        "teacher.models=./nowhere: there is no",
    ),
    "what ensemble's members share": (
        "teacher=ensemble teacher.models=[./a] teacher.each.epochs=0",
        "teacher.each.epochs=0: at least 1",
    ),
    "ensemble of new models of no size": (
        "teacher=ensemble teacher.models=[null] teacher.each.model=./a teacher.each.scratch=null",
        "teacher.models: null trains teacher.each.scratch, which is empty",
    ),
    "ensemble's text for a list": (
        "teacher=ensemble teacher.models=./a",
        "teacher.models: './a' is not a list",
    ),
    "no logits": ("teacher.cache_top_k=0", "teacher.cache_top_k=0: at least 1"),
    "more logits than classes": (
        "teacher.cache_top_k=3",
        "teacher.cache_top_k=3: the task has 2 classes",
    ),
    "objective on all logits": (
        "teacher.cache_top_k=1 objective=mse_logits",
        "teacher.cache_top_k=1: objective=mse_logits needs all logits; take hinton",
    ),
    "part of a sum on all logits": (
        "teacher.cache_top_k=1 objective=combine +objective@objective.parts.mse=mse_logits"
        " +objective.weights.mse=1",
        "teacher.cache_top_k=1: objective=mse_logits needs all logits",
    ),
    "temperature that is not kept": (
        "teacher.cache_top_k=1 teacher.cache_temperatures=[1,2] objective.temperature=3",
        "teacher.cache_temperatures=[1.0, 2.0]: the objective compares at T = 3",
    ),
    "temperatures of none": (
        "teacher.cache_top_k=1 teacher.cache_temperatures=[]",
        "teacher.cache_temperatures=[]: at least one",
    ),
    "kept temperature 0": (
        "teacher.cache_top_k=1 teacher.cache_temperatures=[0]",
        "teacher.cache_temperatures=0: a temperature, from 0.01 to 1e+06",
    ),
    "temperature that changes": (
        "teacher.cache_top_k=1 callbacks.distillation.temperature_schedule=linear",
        "callbacks.distillation.temperature_schedule=linear: with teacher.cache_top_k=1",
    ),
    "ensemble's logits": (
        "teacher=ensemble teacher.models=[./a] teacher.cache_top_k=-1",
        "teacher.cache_top_k=-1: at least 1",
    ),
    "part of a sum": (
        "objective=combine objective.parts.hinton.temperature=0",
        "objective.parts.hinton.temperature=0: a temperature, from",
    ),
    "no layers": ("student.num_layers=0", "student.num_layers=0: at least 1"),
    "rows longer than the model": ("task.max_length=512", "takes at most 64 tokens"),
    "missing data file": ("task.train_file=nowhere.csv", "nowhere.csv: there is no such file"),
    "missing column": ("task.text=txt", "task.text=txt:"),
    "text column as label": ("task.label=text", "are not classes"),
    "label outside the set": ("task.labels=[negative,neutral]", "'positive' is not one of the"),
    "missing teacher folder": ("teacher.model=./nowhere", "teacher.model=./nowhere: there is no"),
    "hub name without a network": ("teacher.model=org/absent", "teacher.model=org/absent: neither"),
    "student's hub name": ("student=pretrained student.model=org/absent", "student.model=org/abse"),
    "GLUE folder": ("task=glue/rte task.data_dir=nowhere", "task.data_dir=nowhere: there is no"),
    "GLUE without a network": ("task=glue/rte", "neither in the hub cache nor within reach"),
    "two classes for DKD": ("objective=dkd", "the task has 2 classes, at least 3 are needed, bec"),
    "two classes for DIST": ("objective=dist", "objective=dist: the task has 2 classes"),
    "layer map": ("objective=hidden objective.layers=[[3,0]]", "objective.layers=[[3, 0]]: pairs"),
    "other width": (
        "objective=distilbert student=scratch student.sizes.hidden_size=16",
        "objective=distilbert: the student is 16 wide, the teacher 32",
    ),
    "beta": ("objective=jsd objective.beta=2", "objective.beta=2: from 0"),
    "accelerator that is not here": (
        "trainer.accelerator=cuda",
        "trainer.accelerator=cuda: torch finds none",
    ),
    "unknown strategy": ("trainer.strategy=dpp", "trainer.strategy=dpp: "),
    "steps that cannot be": ("trainer.max_steps=-5", "trainer.max_steps=-5: "),
    "scratch sizes": (
        "teacher.model=null teacher.scratch.num_attention_heads=7",
        "teacher.scratch: no model can be made of these sizes",
    ),
    "vocabulary of a new student": (
        "student=scratch student.sizes.vocab_size=7",
        "student.sizes.vocab_size=7: the tokeniser has",
    ),
    "positions of a new teacher": (
        "teacher.model=null teacher.scratch.model_type=roberta"
        " +teacher.scratch.max_position_embeddings=8",
        "teacher.scratch.max_position_embeddings=8: that takes at most",
    ),
    "unknown architecture": (
        "student=scratch student.sizes.model_type=bertt",
        "student.sizes: no model can be made",
    ),
}


@pytest.fixture
def refused(
    tmp_path: Path,
    finetuned: Path,
    rows_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Type a line that must be refused; return what was said."""
    monkeypatch.chdir(tmp_path)

    def go(*overrides: str) -> str:
        keys = {o.split("=")[0] for o in overrides}
        chosen = {key.split(".")[0] for key in keys if "." not in key}
        base = [
            o for o in tiny(finetuned, rows_file)
            if o.split("=")[0] not in keys and o.split(".")[0] not in chosen
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["distill-lab", "train", *base, *overrides])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capfd.readouterr().err
        assert stopped.value.code == 2, said
        assert "Traceback" not in said
        last = [line for line in said.splitlines() if line.startswith("distill-lab: ")]
        assert len(last) == 1, said
        assert not list(tmp_path.rglob("result.json"))
        assert not list(tmp_path.rglob("*.tmp"))
        # rows as tokens are whole, and good for the line that is put right
        kept = {entry.parents[1].name for entry in tmp_path.glob("store/*/*/entry.json")}
        assert kept <= {"rows"}
        # a folder is left by a run alone that has begun, with weights that turned out to be bad
        assert all((run / "config.yaml").is_file() for run in tmp_path.glob("runs/default/*"))
        return last[0]

    return go


@pytest.mark.parametrize("name", CONFIGURATION)
def test_configuration(name: str, refused: Callable[..., str]) -> None:
    overrides, expected = CONFIGURATION[name]
    assert expected in refused(*overrides.split(" "))
    assert not Path("runs").exists()


FILES: dict[str, tuple[str, bytes, str]] = {
    "row with no label": ("rows.csv", b"text,label\ngood film,a\nbad film,\n", "line 3: column"),
    "null for a label": (
        "rows.jsonl",
        b'{"text": "good", "label": "a"}\n{"text": "bad", "label": null}\n',
        "line 3: column 'label' has no label",
    ),
    "empty": ("rows.csv", b"", "the file is empty"),
    "header alone": ("rows.csv", b"text,label\n", "the file has no rows"),
    "not UTF-8": ("rows.csv", b"text,label\ncaf\xe9,a\n", "not UTF-8"),
    "row with no text": (
        "rows.csv",
        b"text,label\ngood film,a\n ,b\n",
        "line 3: column",
    ),
    "rows with no text": (
        "rows.csv",
        b"text,label\ngood,a\n ,a\n ,b\nbad,b\n,a\n,a\n",
        "lines 3, 4, 6 and 1 more: column 'text' has no text",
    ),
    "semicolons": ("rows.csv", b"text;label\ngood, very;a\nbad;b\n", "separated by ';'; a .csv"),
    "tabs in a csv": ("rows.csv", b"text\tlabel\ngood\ta\nbad\tb\n", r"separated by '\t'"),
    "all of one label": (
        "rows.csv",
        b"text,label\n" + b"good,a\n" * 40,
        "all training rows have the label 'a'",
    ),
    "too few rows": ("rows.csv", b"text,label\na b,a\nc d,b\n", "one part is empty"),
    "unknown ending": ("rows.xml", b"<rows/>", "the ending is none of"),
    "broken JSON lines": ("rows.jsonl", b'{"text": "a", "label"\n', "line 1: not JSON ("),
    "broken parquet": ("rows.parquet", b"PAR1 nonsense", "not a readable parquet file"),
    "ragged rows": (
        "rows.tsv",
        b"text\tlabel\na\tb\nc\td\te\tf\n",
        "rows.tsv, line 3: 4 columns where the header has 2",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_data_files(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    file, content, expected = FILES[name]
    (tmp_path / file).write_bytes(content)
    said = refused(f"task.train_file={file}")
    assert expected in said
    assert file in said or name in ("all of one label", "too few rows")


def test_evaluation_file_with_another_label(refused: Callable[..., str], tmp_path: Path) -> None:
    table = sentences(10)
    table.loc[3, "label"] = "mixed"
    table.to_csv(tmp_path / "dev.csv", index=False)
    said = refused("task.evaluation_file=dev.csv")
    assert "dev.csv, column 'label', line 5: 'mixed' is not one of the labels" in said


def test_regression_with_words(refused: Callable[..., str]) -> None:
    said = refused("task.kind=regression", "task.metrics=[pearson]")
    assert "is not a number" in said


def copied(folder: Path, to: Path, *, without: str = "") -> Path:
    to.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.name != without:
            (to / file.name).write_bytes(file.read_bytes())
    return to


def test_teacher_without_weights(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    copied(finetuned, tmp_path / "teacher", without="model.safetensors")
    assert "has no weights" in refused("teacher.model=./teacher")


def test_teacher_with_damaged_weights(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    weights = copied(finetuned, tmp_path / "teacher") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "weights cannot be loaded" in refused("teacher.model=./teacher")


def test_teacher_with_the_weights_of_another_architecture(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 6
    (folder / "config.json").write_text(json.dumps(config))
    assert "lacks" in refused("teacher.model=./teacher")


def test_teacher_with_weights_of_another_shape(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = 48
    (folder / "config.json").write_text(json.dumps(config))
    assert "in another shape" in refused("teacher.model=./teacher")


def test_folder_that_is_no_model(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    assert "has no config.json" in refused("teacher.model=./teacher")


def test_teacher_with_other_labels(refused: Callable[..., str]) -> None:
    said = refused("task.labels=[negative,positive,mixed]")
    assert "it answers 2 labels, the task reviews has 3" in said


def test_teacher_with_labels_of_other_names(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    said = refused("teacher.model=./teacher")
    assert "its labels are bad, good, the task's are negative, positive" in said


def test_a_folder_without_a_tokeniser(encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder, folder, ignore=shutil.ignore_patterns("token*", "vocab*"))
    with pytest.raises(ModelError, match=r"teacher\.model=.*tokeniser cannot be loaded"):
        load_tokenizer(str(folder), "teacher.model")
    assert len(load_tokenizer(str(encoder), "teacher.model")) > 50


def test_student_with_another_tokeniser(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "student")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["Ġgood"], words["Ġbad"] = words["Ġbad"], words["Ġgood"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = refused("student=pretrained", "student.model=./student")
    assert "its tokeniser is not the teacher's" in said and "2 differ" in said


def test_student_that_cuts_otherwise(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "student")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
    assert "cuts text otherwise" in refused("student=pretrained", "student.model=./student")


def test_student_that_puts_pairs_together_otherwise(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "student")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    pair = tokenizer["post_processor"]["pair"]
    pair.insert(2, next(part for part in pair if "SpecialToken" in part))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = refused("student=pretrained", "student.model=./student")
    assert "cuts text otherwise (case, accents, or what stands between texts)" in said


def test_student_that_cuts_a_row_of_the_task_otherwise(
    refused: Callable[..., str], finetuned: Path, tmp_path: Path
) -> None:
    folder = copied(finetuned, tmp_path / "student")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    other = {"type": "Replace", "pattern": {"String": "the"}, "content": "of"}
    both = [tokenizer["normalizer"], other]
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": both}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = refused("student=pretrained", "student.model=./student")
    assert "cuts text otherwise" in said and " the" in said.split("such as")[1]


@pytest.mark.parametrize(
    ("objective", "schedule", "said"),
    [
        ("mse_logits", "temperature", "MseLogits has no temperature to change here"),
        ("distilbert", "lam", "DistilBERT has no lam to change here"),
    ],
)
def test_a_schedule_of_what_is_not_there(
    objective: str, schedule: str, said: str, refused: Callable[..., str]
) -> None:
    line = f"callbacks.distillation.{schedule}_schedule=linear"
    assert said in refused(f"objective={objective}", line)


def test_stages_of_which_one_has_no_step(refused: Callable[..., str]) -> None:
    said = refused("objective=tinybert", "objective.intermediate=0.1", "trainer.max_steps=4")
    assert "trains in 2 stages, of which 4 steps leave one without any" in said


@pytest.mark.parametrize("weight", ["[1]", "[1,2,3]", "nan", "[0,inf]", "[0,more]", "-1"])
def test_weights_that_are_none(weight: str, refused: Callable[..., str]) -> None:
    said = refused("objective=combine", f"objective.weights={{hinton: {weight}, hidden: 1}}")
    assert "objective.weights.hinton=" in said and "a number, or [first, last], 0 or more" in said


def test_teacher_near_chance(
    tmp_path: Path,
    encoder: Path,
    rows_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*tiny(encoder, rows_file), "teacher.max_steps=1", "teacher.min_over_chance=0.4"]
    monkeypatch.setattr(sys, "argv", ["distill-lab", "train", *line])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capfd.readouterr().err
    assert stopped.value.code == 2
    assert "there is nothing to distil" in said and "teacher.min_over_chance=-1" in said
    error = next(tmp_path.rglob("error.txt")).read_text()
    assert "there is nothing to distil" in error
    assert not list(tmp_path.rglob("result.json"))


def test_all_faults_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["task.max_lenght=3", "optim.lr=-1", "optim.batch_size=0", "objective.lam=3"]
    line += ["objective.temperature=0", "trainer.max_epoch=2", "teacher.epochs=0", "seed=-1"]
    monkeypatch.setattr(sys, "argv", ["distill-lab", "train", *line])
    with pytest.raises(SystemExit):
        main()
    said = capfd.readouterr().err.splitlines()
    told = [line.removeprefix("distill-lab: ") for line in said if "distill-lab: " in line]
    assert sorted(each.split("=")[0].split(":")[0] for each in told) == sorted(
        each.split("=")[0] for each in line
    )


def test_all_columns_and_files_that_are_missing_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("txt,stars\na,b\n")
    base = ["task=text_classification", "teacher.model=null"]
    for line, first, second in (
        (["task.train_file=mine.csv"], "task.text=text: mine.csv has no such", "task.label=label:"),
        (
            ["task.train_file=no.csv", "task.evaluation_file=none.csv"],
            "task.train_file=no.csv: there is no such file",
            "task.evaluation_file=none.csv: there is no such file",
        ),
    ):
        monkeypatch.setattr(sys, "argv", ["distill-lab", "train", *base, *line])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        said = capfd.readouterr().err
        assert first in said and second in said


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["compare", "nowhere"], "nowhere: there is no such run or study"),
        (["compare", "."], "no finished run is here"),
        (["compare", "broken/result.json"], "not a result of distill-lab"),
        (["trian"], "no such verb: trian; did you mean 'train'?"),
        (["runs/x"], "no such verb: runs/x (there are train, compare, report, bench"),
        (["task=mnist"], "task=mnist: the verb comes first, as in distill-lab train task=mnist"),
    ],
)
def test_other_verbs(
    line: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "broken/result.json" in line:
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "result.json").write_text('{"status": "fini')
    monkeypatch.setattr(sys, "argv", ["distill-lab", *line])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert expected in capfd.readouterr().err


@pytest.mark.parametrize("line", [["objective.lam=7"], ["-m", "objective.lam=0.5,7"]])
def test_refused_lines_leave_what_was_there(
    line: list[str], refused: Callable[..., str], tmp_path: Path
) -> None:
    kept = tmp_path / "runs" / "mine" / "multirun.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text("of an earlier line\n")
    assert "7: lam weighs" in refused(*line, "study=mine")
    assert kept.read_text() == "of an earlier line\n"


def test_a_run_that_has_begun_keeps_its_error(
    tmp_path: Path, encoder: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*tiny(encoder, rows_file), "optim.lr=1e30", "trainer.gradient_clip_val=null"]
    monkeypatch.setattr(sys, "argv", ["distill-lab", "train", *line])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (error,) = (tmp_path / "runs").rglob("error.txt")
    assert "is nan" in error.read_text() and (error.parent / "config.yaml").is_file()
