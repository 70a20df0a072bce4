"""Distillation through text: reading, tokens, writing, filters, resuming, whole runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from tokenizers import processors
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    pipeline,
)

import distill_lab.writing as writing
from distill_lab.errors import ConfigError, DataError, ModelError, UsageError
from distill_lab.forward import forward
from distill_lab.generation import Sampling, generate
from distill_lab.heads import new_network
from distill_lab.hydra_entry import compose
from distill_lab.objectives.sequence import Sequence
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.store import Store
from distill_lab.tasks import Data, Instruction, Sums
from distill_lab.tasks.answer_rows import (
    PLAIN,
    AnswerRows,
    encode_answers,
    own_template,
    pinned,
    prompts_of,
    rendered,
)
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.filters import Keep, repeated
from distill_lab.tasks.instructions import Final, Instructions, Written, read_instructions
from distill_lab.tasks.on_policy import written_by_student
from distill_lab.tasks.tokens import tokenizer_fingerprint
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.types import Outputs, Problem
from tests.conftest import FILLER, besides

ALPHABET = "abcdefghij"


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Prompts of letters, the answer to which is the last of them, twice."""
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        word = "".join(random.choice(list(ALPHABET), int(random.integers(2, 6))))
        found.append({"prompt": f"{word} =", "answer": f"{word[-1]} {word[-1]}"})
    return found


def write(path: Path, content: Many[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    write(folder / "train.jsonl", rows(160, 1))
    write(folder / "test.jsonl", rows(40, 2))
    return folder


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return new_tokenizer()


def new_tokenizer() -> PreTrainedTokenizerBase:
    class Texts:
        def texts(self) -> list[str]:
            return FILLER

    return train_tokenizer(Texts(), 300, 64, framed=False)  # type: ignore[arg-type]


def decoder(tokenizer: PreTrainedTokenizerBase, kind: str = "gpt2", seed: int = 0) -> Any:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "gpt2": {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 64},
        "llama": {
            "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2,
            "num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": 64,
        },
    }[kind]  # fmt: skip
    config = AutoConfig.for_model(
        kind, **sizes, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    return new_network(config, Problem("causal_lm", (), len(tokenizer))).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model with random weights, that is taken as it is."""
    made, tokenizer = tmp_path_factory.mktemp("decoder"), new_tokenizer()
    decoder(tokenizer).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def task(place: Path, **settings: Any) -> Instruction:
    given = {"max_length": 48, "max_new_tokens": 6, **settings}
    files = {"train": str(place / "train.jsonl"), "evaluation": str(place / "test.jsonl")}
    return Instruction(name="letters", **{**files, **given})


@pytest.fixture
def data(place: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Data:
    made = task(place)
    return made.encode(made.load(), tokenizer, Store(tmp_path / "store"))


@pytest.fixture
def go(place: Path, folder: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run the task with a tiny teacher and further overrides."""

    def go(*overrides: str, out: str = "run") -> Result:
        base = [
            "task=instruction", f"task.train={place}/train.jsonl",
            f"task.evaluation={place}/test.jsonl", "task.max_length=48", "task.max_new_tokens=6",
            "objective=sequence", f"teacher.model={folder}", "teacher.finetune=true",
            "teacher.epochs=1", "teacher.lr=3e-3", "teacher.batch_size=8",
            "teacher.min_over_chance=-1", "student=layers", "student.num_layers=1",
            "optim.lr=2e-3", "optim.batch_size=8", "trainer.max_epochs=1",
            "trainer.accelerator=cpu", "trainer.log_every_n_steps=1",
            "task.keep.correct=false", "task.keep.complete=false",
            f"store_dir={tmp_path}/store",
        ]  # fmt: skip
        return run(compose(*besides(base, overrides), *overrides), tmp_path / out)

    return go


# Reading


def test_messages_numbers_and_missing_answers_are_read(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Count."}, {"role": "user", "content": "2+2"}]
    file = write(
        tmp_path / "rows.jsonl",
        [
            {"q": "1+1", "a": "It is 2", "n": 2},
            {"q": talk, "a": None, "n": 4},
            {"q": "x", "n": None},
        ],
    )  # fmt: skip
    read = read_instructions(file, "q", "a", "n", Final(None))
    assert read.prompts == [
        (("user", "1+1"),), (("system", "Count."), ("user", "2+2")), (("user", "x"),),
    ]  # fmt: skip
    assert read.answers == ["It is 2", None, None] and read.keys == ["2", "4", None]
    assert read.has(["key"]).tolist() == [True, True, False]
    assert read.has(["key", "answer"]).tolist() == [True, False, False]
    assert read.has([]).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"prompt": "  ", "answer": "x"}], "line 1: the prompt is empty"),
        ([{"prompt": "a", "answer": "x"}, {"prompt": 3, "answer": "x"}], "line 2: column 'prompt'"),
        ([{"prompt": [{"role": "user"}], "answer": "x"}], "line 1: column 'prompt' has no prompt"),
        ([{"promt": "a", "answer": "x"}], r"has no such column.*promt"),
        (["no object"], "line 1: not JSON|not an object with|no such column"),
    ],
)
def test_rows_that_are_no_prompts_are_named(tmp_path: Path, content: list[Any], said: str) -> None:
    file = write(tmp_path / "rows.jsonl", content)
    with pytest.raises(DataError, match=said):
        read_instructions(file, "prompt", "answer", None, Final(None))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (None, " 12 \n", "12"),
        (r"#### (\d+)", "#### 1 and then #### 23 apples", "23"),
        (r"\d+", "3 and 4", "4"),
        (r"answer: (.*)", "nothing", None),
    ],
)
def test_what_a_text_comes_to(pattern: str | None, text: str, expected: str | None) -> None:
    assert Final(pattern).of(text) == expected
    assert expected is None or Final(pattern).right(text, expected)
    assert not Final(pattern).right(text, "x")


# Tokens


def test_only_answers_are_asked_and_the_loss_is_that_of_transformers(
    data: Data, tokenizer: PreTrainedTokenizerBase
) -> None:
    """transformers leaves out labels of -100 and shifts the others by itself."""
    batch = next(iter(training_batches(data.train, 8, seed=1)))
    model = decoder(tokenizer)
    labels = torch.full_like(batch.inputs["input_ids"], -100)
    for row, at in enumerate(data.train.positions(batch.ids.numpy())):
        rows_ = data.train
        assert isinstance(rows_, AnswerRows)
        tokens, begin = rows_.tokens_of(at), int(rows_.begins[at])
        prompt, answer = rows_.source.prompts[at][0][1], rows_.source.answers[at]
        assert tokenizer.decode(tokens[:begin]) == f"{prompt}\n"
        assert tokenizer.decode(tokens[begin:]) == f"{answer}<|endoftext|>"
        labels[row, begin : len(tokens)] = torch.from_numpy(tokens[begin:])
    theirs = model(**batch.inputs, labels=labels).loss
    ours = F.cross_entropy(forward(model, batch).logits, batch.labels)
    torch.testing.assert_close(ours, theirs)
    assert batch.count("answers") == int((labels != -100).sum())
    expected = [data.train.prompt_of(at) for at in data.train.positions(batch.ids.numpy())]  # type: ignore[attr-defined]
    assert [p.tolist() for p in prompts_of(batch)] == [p.tolist() for p in expected]


def test_a_chat_template_stands_around_prompts(place: Path, folder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<you>{% endif %}"  # noqa: E501
    made = task(place)
    own = made.encode(made.load(), tokenizer, Store(tmp_path / "store"))
    assert tokenizer.decode(own.train.prompt_of(0)).startswith("<user>")  # type: ignore[attr-defined]
    assert tokenizer.decode(own.train.prompt_of(0)).endswith("=<you>")  # type: ignore[attr-defined]
    other = task(place, template="Q: {{ messages[0]['content'] }} A:")
    plain = AutoTokenizer.from_pretrained(folder)
    typed = other.encode(other.load(), plain, Store(tmp_path / "store"))
    assert tokenizer.decode(typed.train.prompt_of(0)).startswith("Q: ")  # type: ignore[attr-defined]
    assert own.fingerprints["template"] != typed.fingerprints["template"]
    assert own.fingerprints["tokenizer"] != typed.fingerprints["tokenizer"]
    wrong = task(place, template="{{ messages[7]['content'] }}{% raise %}")
    with pytest.raises(DataError, match=r"task\.template: it cannot be applied to the prompt"):
        wrong.encode(wrong.load(), tokenizer, Store(tmp_path / "store"))


def test_stored_rows_are_those_that_were_encoded(
    data: Data, place: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    made = task(place)
    again = made.encode(made.load(), tokenizer, Store(tmp_path / "store"))
    for first, second in ((data.train, again.train), (data.selection, again.selection)):
        assert isinstance(first, AnswerRows) and isinstance(second, AnswerRows)
        assert (first.begins == second.begins).all() and (first.offsets == second.offsets).all()
        assert (first.columns["input_ids"] == second.columns["input_ids"]).all()
    some = again.train.take(np.array([5, 2]))  # type: ignore[attr-defined]
    assert some.tokens_of(1).tolist() == data.train.tokens_of(2).tolist()
    assert some.source.keys == [data.train.source.keys[5], data.train.source.keys[2]]  # type: ignore[attr-defined]


def test_rows_without_answers_are_left_out_of_training_on_answers(
    tmp_path: Path, place: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    some = rows(60, 3)
    for row in some[::3]:
        row.pop("answer")
    made = task(place, train=str(write(tmp_path / "some.jsonl", some)))
    data = made.encode(made.load(), tokenizer, Store(tmp_path / "store"))
    assert len(data.of_baseline().train) == 40 - len(data.selection)
    assert len(data.of_teacher().train) == 40 - len(data.selection)
    assert data.selection.source.has(["answer"]).all()  # type: ignore[attr-defined]
    assert len(data.train) == 60 - len(data.selection)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "{{ messages[0]['text'] }}"}, "the template makes no text of 144 prompts"),
        ({"max_length": 12}, "task.max_length=12 less task.max_new_tokens=6 leaves 6"),
        ({"max_new_tokens": 48}, "leaves no room for a prompt"),
        ({"final": "("}, r"task\.final=\(: not a regular expression"),
        ({"write_batch": 0}, r"task\.write_batch=0"),
        ({"metrics": ["f1"]}, r"task\.metrics=\['f1'\]: choose"),
        ({"final": "z+"}, r"line 1: task\.final finds no answer in column 'answer'"),
        ({"answer": "gold"}, r"has no key or no answer, by which task\.metrics="),
        ({"train": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(
    settings: dict[str, Any], said: str, place: Path, tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(UsageError, match=said):
        made = task(place, **settings)
        made.encode(made.load(), tokenizer, Store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.sampling.samples=3", "at temperature 0 all answers to a prompt are the same"),
        ("task.sampling.top_p=0", r"^task\.sampling\.top_p=0: a probability above 0"),
        ("task.sampling.temprature=1", r"^task\.sampling\.temprature: .*did you mean.*temperature"),
        ("task.sampling.temperature=hot", r"^task\.sampling\.temperature: 'hot' is not a number"),
        ("task.keep.per_prompt=0", r"^task\.keep\.per_prompt=0: at least 1"),
        ("task.keep.repetition=2", r"^task\.keep\.repetition=2: a share"),
        ("task.answers=mine", r"^task\.answers: 'mine' is not"),
        ("task.keep.correct=perhaps", r"^task\.keep\.correct: 'perhaps' is not"),
    ],
)
def test_settings_that_cannot_be_are_named(
    go: Callable[..., Result], override: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        go(override)
    assert not (tmp_path / "run").exists() and not (tmp_path / "store").exists()


def test_what_ends_an_answer_is_in_the_tokenisers_fingerprint(folder: Path) -> None:
    prints = set()
    for end in ("<|endoftext|>", "!"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.eos_token, tokenizer.chat_template = end, "x"
        prints.add(tokenizer_fingerprint(tokenizer))
    assert len(prints) == 2


def test_templates_of_several_names_beginnings_and_days(
    place: Path, folder: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"default": "chosen", "tool_use": "other"}
    assert own_template(tokenizer) == "chosen"
    tokenizer.chat_template = None
    assert own_template(tokenizer) == PLAIN
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    made = task(place)
    data = made.encode(made.load(), tokenizer, Store(tmp_path / "store"))
    told = tokenizer.decode(data.train.prompt_of(0))  # type: ignore[attr-defined]
    assert told.startswith("<|endoftext|>") and told.count("<|endoftext|>") == 1
    day = "{{ strftime_now('%Y-%m-%d') }}{{ messages[0]['content'] }}"
    tokenizer.chat_template = pinned(pinned(day))
    assert rendered((("user", "x"),), tokenizer) == "2024-07-26x"
    assert pinned(PLAIN) == PLAIN


def test_an_answer_that_was_cut_is_not_taught_to_end(
    data: Data, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert isinstance(data.train, AnswerRows)
    answers = [Written(0, 0, "a a", 3, True), Written(1, 0, "b b", 6, False)]
    learned = data.train.source.written([4, 5], answers)
    tokens = encode_answers(learned, tokenizer, 48)
    assert [int(tokens.tokens_of(at)[-1]) == 0 for at in (0, 1)] == [True, False]
    turned = encode_answers(learned.take(np.array([1, 0])), tokenizer, 48)
    assert [int(turned.tokens_of(at)[-1]) == 0 for at in (0, 1)] == [False, True]
    whole = data.train.source.written([4, 5], [answers[0], replace(answers[1], complete=True)])
    assert whole.fingerprint() != learned.fingerprint()


# Writing


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, top_p=0.9, seed=3)])
def test_what_is_written_does_not_depend_on_what_stands_beside(
    data: Data, tokenizer: PreTrainedTokenizerBase, kind: str, sampling: Sampling
) -> None:
    model = decoder(tokenizer, kind)
    assert isinstance(data.train, AnswerRows)
    prompts = [data.train.prompt_of(at) for at in range(12)]
    assert len({len(p) for p in prompts}) > 2
    which = [(at, 0) for at in range(12)]
    together = generate(model, tokenizer, prompts, 8, sampling, which)
    alone = [
        generate(model, tokenizer, [prompt], 8, sampling, [own])[0]
        for prompt, own in zip(prompts, which, strict=True)
    ]
    assert [t.tolist() for t in together] == [t.tolist() for t in alone]
    assert len({tuple(t.tolist()) for t in together}) > 6


def test_greedy_words_are_the_likeliest(data: Data, tokenizer: PreTrainedTokenizerBase) -> None:
    model = decoder(tokenizer)
    # What a model's own folder says of sampling plays no part.
    model.generation_config = GenerationConfig(do_sample=True, repetition_penalty=5.0, top_k=2)
    assert isinstance(data.train, AnswerRows)
    prompt = data.train.prompt_of(0)
    written, expected = generate(model, tokenizer, [prompt], 8)[0], list(prompt)
    for token in written:
        expected.append(int(model(torch.tensor([expected])).logits[0, -1].argmax()))
        assert token == expected[-1]
    assert model.generation_config.repetition_penalty == 5.0


def test_words_are_drawn_as_likely_as_they_are(tokenizer: PreTrainedTokenizerBase) -> None:
    """Frequencies of 4,000 first words against softmax(z / T), cut by top-k and top-p."""
    model = decoder(tokenizer)
    prompt, count = np.array([40, 41, 42]), 4000
    sampling = Sampling(temperature=0.7, top_k=12, top_p=0.8, seed=5)
    which = [(row, 0) for row in range(count)]
    drawn = generate(model, tokenizer, [prompt] * count, 1, sampling, which)
    logits = model(torch.from_numpy(prompt)[None]).logits[0, -1] / 0.7
    top = logits.topk(12)
    p = top.values.softmax(-1)
    kept = int((p.cumsum(0) - p < 0.8).sum())
    expected = (p[:kept] / p[:kept].sum()).tolist()
    found = Counter(int(tokens[0]) for tokens in drawn)
    assert set(found) <= set(top.indices[:kept].tolist()) and kept > 2
    for token, share in zip(top.indices[:kept].tolist(), expected, strict=True):
        error = (share * (1 - share) / count) ** 0.5
        assert abs(found[token] / count - share) < 4.5 * error


def test_samples_seeds_and_rows_are_told_apart() -> None:
    one = Sampling(temperature=1.0, samples=2, seed=1)
    numbers = [one.draws(0, 0, 4), one.draws(0, 1, 4), one.draws(1, 0, 4)]
    numbers.append(Sampling(temperature=1.0, seed=2).draws(0, 0, 4))
    assert len({tuple(n) for n in numbers}) == 4
    assert (one.draws(0, 0, 4) == one.draws(0, 0, 4)).all()
    # More words to come do not change those before.
    assert (one.draws(0, 0, 9)[:4] == one.draws(0, 0, 4)).all()


def test_an_answer_ends_where_the_model_says(tokenizer: PreTrainedTokenizerBase) -> None:
    model = decoder(tokenizer)
    prompt = np.array([40, 41, 42])
    free = generate(model, tokenizer, [prompt], 6)[0]
    model.generation_config.eos_token_id = [0, int(free[2])]
    ended = generate(model, tokenizer, [prompt], 6)[0]
    assert ended.tolist() == free[: free.tolist().index(free[2]) + 1].tolist()


# Filters


@pytest.mark.parametrize(
    ("answer", "keep", "reason"),
    [
        (Written(0, 0, "a", 2, True), Keep(), ""),
        (Written(0, 0, " ", 1, True), Keep(), "empty"),
        (Written(0, 0, "a", 6, False), Keep(), "without an end"),
        (Written(0, 0, "a", 6, False), Keep(complete=False), ""),
        (Written(0, 0, "a", 6, True), Keep(max_tokens=5), "too long"),
        (Written(0, 0, "b", 2, True), Keep(), "wrong"),
        (Written(0, 0, "b", 2, True), Keep(correct=False), ""),
        (Written(0, 0, "x y z w " * 3, 12, True), Keep(correct=False), "repetitive"),
        (Written(0, 0, "x y z w " * 3, 12, True), Keep(correct=False, repetition=None), ""),
    ],
)
def test_why_an_answer_is_left_out(answer: Written, keep: Keep, reason: str) -> None:
    assert keep.reason(answer, "a", Final(None)) == reason
    assert keep.reason(Written(0, 0, "b", 2, True), None, Final(None)) == ""


def test_so_many_answers_to_a_prompt_as_are_wanted() -> None:
    given = [(0, 0, "b"), (0, 1, "a"), (0, 2, "a"), (1, 0, "a")]
    answers = [Written(row, sample, text, 2, True) for row, sample, text in given]
    chosen, reasons = Keep(per_prompt=1).choose(answers, ["a"] * 4, Final(None))
    assert chosen == [1, 3] and reasons == {"wrong": 1, "one too many": 1}
    assert Keep().choose(answers, ["a"] * 4, Final(None))[0] == [1, 2, 3]


def test_repetition_is_the_share_of_words_that_stood_there() -> None:
    assert repeated("one two three") == 0.0
    assert repeated("a b c d e f g") == 0.0
    assert repeated("a b c d a b c d") == pytest.approx(1 / 5)


# Whole runs


def test_a_run_learns_what_the_teacher_writes(
    go: Callable[..., Result], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        result = go()
    entry = next((tmp_path / "store" / "generations").glob("*/answers.jsonl"))
    written = [json.loads(line) for line in entry.read_text().splitlines()]
    assert len(written) == result.rows["written"] == 144
    empty = sum(not each["text"].strip() for each in written)
    assert result.rows["train"] == 144 - empty - result.rows.get("left out: repetitive", 0)
    assert set(result.metrics["student"]) == {"exact", "perplexity", "accuracy"}
    assert not list((tmp_path / "store").glob("signals/*"))  # the teacher is asked no more
    assert "fingerprints" in json.loads((tmp_path / "run" / "result.json").read_text())
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert {"prompt", "label", "student", "student_exact", "student_loss"} <= set(table.columns)
    assert table["student_exact"].mean() == pytest.approx(result.metrics["student"]["exact"])
    # The student's folder brings its template along.
    writes = pipeline("text-generation", model=str(tmp_path / "run" / "student"))
    first = table.iloc[0]
    talk = [{"role": "user", "content": first["prompt"]}]
    told = writes(talk, max_new_tokens=6, do_sample=False)[0]["generated_text"][-1]["content"]
    assert told == first["student"]
    # Another objective, seed or student finds answers, teacher and baseline.
    calls = len(caplog.records)
    with caplog.at_level("INFO"):
        go("objective=hinton", "objective.temperature=2", out="second")
    told = " ".join(record.getMessage() for record in caplog.records[calls:])
    assert "answers found in the store" in told and "fine-tuning" not in told
    assert "baseline: found in the store" in told
    assert len(list((tmp_path / "store").glob("signals/*/entry.json"))) == 1


def test_kept_signals_of_what_was_written_are_those_of_the_teacher(
    go: Callable[..., Result], tmp_path: Path
) -> None:
    names = ["train/soft", "train/hard"]
    logs = []
    for cache in ("on", "off"):
        go(
            "objective=hinton", "teacher.finetune=false", f"teacher.cache={cache}",
            "baseline=false", out=cache,
        )  # fmt: skip
        logs.append(pd.read_csv(tmp_path / cache / "metrics.csv")[names].dropna())
    pd.testing.assert_frame_equal(*logs, rtol=2e-5, atol=1e-6)
    assert len(logs[0]) > 10


def test_the_data_s_own_answers_with_the_teacher_s_logits(
    go: Callable[..., Result], tmp_path: Path
) -> None:
    result = go("task.answers=data", "objective=reverse_kl", "baseline=false")
    assert "written" not in result.rows and not (tmp_path / "store" / "generations").exists()
    with pytest.raises(ConfigError, match="Sequence learns what the teacher has written"):
        go("task.answers=data", out="other")


@pytest.mark.parametrize("stop", [1, 7, 8, 9, 20, 143])
def test_an_interrupted_teacher_goes_on_where_it_was(
    stop: int, go: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is written once, whenever the first try ends, and the answers are the same."""
    asked, kept, limit = Counter[tuple[int, int]](), writing._append, [stop]

    def counted(*given: Any) -> Any:
        asked.update([given[5]] if isinstance(given[5], tuple) else given[5])
        return generate(*given)

    def appended(file: Any, answer: Written) -> None:
        if limit[0] == 0:
            raise KeyboardInterrupt
        limit[0] -= 1
        kept(file, answer)

    settings = ("task.sampling.temperature=1", "task.write_batch=8", "baseline=false")
    go(*settings, out="whole")
    entry = next((tmp_path / "store" / "generations").glob("*/answers.jsonl"))
    whole = entry.read_bytes()
    for file in entry.parent.iterdir():
        file.unlink()
    entry.parent.rmdir()
    monkeypatch.setattr(writing, "generate", counted)
    monkeypatch.setattr(writing, "_append", appended)
    with pytest.raises(KeyboardInterrupt):
        go(*settings, out="first")
    partly = next((tmp_path / "store" / "generations").glob(".*.answers.jsonl"))
    assert len(partly.read_bytes().splitlines()) == stop
    with partly.open("ab") as file:  # torn off while it was written
        file.write(b'{"row": 3, "sam')
    limit[0] = -1
    lines = [json.loads(line) for line in partly.read_bytes().splitlines()[:stop]]
    before = {(line["row"], line["sample"]) for line in lines}
    asked.clear()
    go(*settings, out="second")
    assert not set(asked) & before and len(asked) == 144 - stop
    assert set(asked.values()) == {1}
    assert entry.read_bytes() == whole
    assert not partly.exists()


def test_a_teacher_of_whose_answers_none_is_left_is_refused(
    go: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"of the 144 answers .* none is left") as told:
        go("task.keep.max_tokens=1", "task.keep.repetition=null", "teacher.max_steps=1")
    reasons = re.findall(r"(\d+) (empty|too long)", str(told.value))
    assert sum(int(count) for count, _ in reasons) == 144
    assert not (tmp_path / "run" / "result.json").exists()


def test_rows_without_answers_are_no_steps_of_a_student_that_learns_given_ones(
    go: Callable[..., Result], tmp_path: Path
) -> None:
    some = rows(120, 3)
    for row in some[::2]:
        row["answer"] = ""
    file = write(tmp_path / "some.jsonl", some)
    typed = (f"task.train={file}", "task.answers=data", "objective=hinton", "task.key=answer")
    first = go(*typed)
    assert first.rows["train"] == 60 - first.rows["selection"]
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert (curves["train/hard"].dropna() > 0).all()
    # Where the student answers in some steps, the teacher's signals of the file's are not taken.
    some_steps = go(*typed, "task.on_policy=0.5", "teacher.cache=auto", out="some")
    assert (
        some_steps.rows == first.rows and len(list((tmp_path / "store").glob("signals/*/0*"))) == 1
    )
    # Where the student answers in every step, all prompts are of use.
    every = go(*typed, "task.on_policy=1.0", "baseline=false", out="every")
    assert every.rows["train"] == 120 - first.rows["selection"]


def test_free_text_is_not_asked_for_word_by_word(go: Callable[..., Result]) -> None:
    """Without a key or a pattern, what a teacher says otherwise is not wrong."""
    typed = ("task.keep.correct=true", "task.metrics=[perplexity]", "teacher.finetune=false")
    result = go(*typed, "baseline=false")
    assert "left out: wrong" not in result.rows and result.rows["train"] > 100
    with pytest.raises(DataError, match=r"none is left .*\d+ wrong"):
        go(*typed, "task.key=answer", "baseline=false", out="checked")


def test_prompts_alone_are_enough_without_a_baseline(
    go: Callable[..., Result], tmp_path: Path, folder: Path
) -> None:
    bare = [{"prompt": row["prompt"], "key": row["answer"]} for row in rows(60, 4)]
    file = write(tmp_path / "bare.jsonl", bare)
    more = (
        f"task.train={file}", "task.key=key", f"task.evaluation={file}", "task.metrics=[exact]",
        "teacher.finetune=false",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="baseline=true: the training rows have no answers"):
        go(*more)
    with pytest.raises(ConfigError, match=r"teacher\.finetune: the training rows have no answers"):
        go(*more[:-1], "teacher.finetune=true", "baseline=false")
    result = go(*more, "baseline=false")
    assert set(result.metrics["student"]) == {"exact"}


def test_a_student_with_its_own_tokeniser_learns_text(
    go: Callable[..., Result], tmp_path: Path
) -> None:
    class Texts:
        def texts(self) -> list[str]:
            return [row["prompt"] + row["answer"] for row in rows(200, 9)]

    own = train_tokenizer(Texts(), 320, 64, framed=False)  # type: ignore[arg-type]
    decoder(own, "llama").save_pretrained(tmp_path / "other")
    own.save_pretrained(tmp_path / "other")
    more = ("student=pretrained", f"student.model={tmp_path}/other", "student.own_tokenizer=true")
    result = go(*more)
    assert result.fingerprints["tokenizer"] != result.fingerprints["teacher_tokenizer"]
    # The teacher's answers are read with its own tokeniser.
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    for model in ("teacher", "student"):
        assert table[f"{model}_exact"].mean() == pytest.approx(result.metrics[model]["exact"])
    own_text = go("objective=sequence", out="alike")
    alike = pd.read_parquet(tmp_path / "alike" / "predictions.parquet")
    assert own_text.fingerprints["teacher"] == result.fingerprints["teacher"]
    assert alike["teacher"].tolist() == table["teacher"].tolist()
    assert len(list((tmp_path / "store" / "teachers").glob("*/entry.json"))) == 1
    saved = AutoTokenizer.from_pretrained(tmp_path / "run" / "student")
    assert saved.get_vocab() == own.get_vocab()
    with pytest.raises(ConfigError, match="answers are tokens"):
        go(*more, "objective=hinton", out="other-run")


def test_an_encoder_cannot_write(go: Callable[..., Result], encoder: Path) -> None:
    with pytest.raises((ModelError, ConfigError), match=r"has no token that ends a text|causal"):
        go(f"teacher.model={encoder}")


# The student writes


def test_what_the_student_writes_is_asked_for_word_by_word(
    data: Data, tokenizer: PreTrainedTokenizerBase
) -> None:
    model, rows = decoder(tokenizer).train(), data.train
    assert isinstance(rows, AnswerRows)
    batch = next(iter(training_batches(rows, 8, seed=1)))
    own = written_by_student(model, batch, rows, 5, seed=3, step=7)
    again = written_by_student(model, batch, rows, 5, seed=3, step=7)
    other = written_by_student(model, batch, rows, 5, seed=3, step=8)
    assert torch.equal(own.inputs["input_ids"], again.inputs["input_ids"])
    assert own.inputs["input_ids"].tolist() != other.inputs["input_ids"].tolist()
    assert model.training and torch.equal(own.ids, batch.ids)
    assert [p.tolist() for p in prompts_of(own)] == [p.tolist() for p in prompts_of(batch)]
    # What is asked for is what follows, as in rows that are read.
    assert own.asked is not None
    following = torch.zeros_like(own.asked)
    following[:, 1:] = own.asked[:, :-1]
    assert torch.equal(own.inputs["input_ids"][following], own.labels)
    assert 8 <= own.count("answers") <= 40
    # Drawn with the student's own probabilities, dropout off.
    model.eval()
    logits = forward(model, own).logits
    assert logits.shape == (own.count("answers"), len(tokenizer))
    drawn = logits.log_softmax(-1).gather(1, own.labels[:, None]).mean()
    assert drawn > logits.log_softmax(-1).mean() + 1


def test_generalised_distillation_on_own_answers(
    go: Callable[..., Result], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        go("task.answers=data", "objective=jsd", "objective.lam=0.5", "task.on_policy=0.5")
    assert "runs for every batch; the student writes answers of its own" in caplog.text
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    on_own = curves["train/soft"].notna() & curves["train/hard"].isna()
    assert 4 <= on_own.sum() <= 14  # of 18 steps
    # There the teacher alone teaches: all of the weight is its.
    weight = (curves["train/soft_weighted"] / curves["train/soft"]).round(6)
    assert weight[on_own].nunique() == 1
    assert (weight[on_own].iloc[0] / weight[~on_own].dropna().iloc[0]) == pytest.approx(2)
    with pytest.raises(ConfigError, match="Sequence looks at what was written"):
        go("task.on_policy=0.5", out="other")
    with pytest.raises(ConfigError, match="DKD looks at what was written"):
        go("task.on_policy=0.5", "objective=dkd", out="another")
    with pytest.raises(ConfigError, match=r"task\.on_policy=2\.0: a share"):
        go("task.on_policy=2.0", out="third")


def test_sequence_is_the_cross_entropy_of_the_answers(
    data: Data, tokenizer: PreTrainedTokenizerBase
) -> None:
    batch = next(iter(training_batches(data.train, 8, seed=1)))
    student = forward(decoder(tokenizer), batch)
    nothing = Outputs(torch.empty(len(batch.labels), 0))
    term = Sequence()(student, nothing, batch)["hard"]
    torch.testing.assert_close(term.part(batch), F.cross_entropy(student.logits, batch.labels))
    assert term.weight == 1.0 and Sequence().scheduled == ()


# The embedded task


def test_sums_are_worked_out() -> None:
    made = Sums(digits=2, train_rows=400, evaluation_rows=100, answered=0.3)
    splits = made.load()
    train, held_out = splits.train, splits.evaluation["evaluation"]
    assert isinstance(train, Instructions) and isinstance(held_out, Instructions)
    prompts = [prompt[0][1] for part in (train, held_out) for prompt in part.prompts]
    assert len(set(prompts)) == len(prompts)
    assert 0.15 < train.has(["answer"]).mean() < 0.45 and held_out.has(["answer"]).all()
    for prompt, answer, key in zip(held_out.prompts, held_out.answers, held_out.keys, strict=True):
        first, second = (int(number) for number in re.findall(r"\d+", prompt[0][1]))
        assert key == str(first + second) and answer is not None
        assert made.final.of(answer) == key
        steps = re.findall(r"(\d)\+(\d)\+(\d)=(\d+)", answer)
        assert all(int(a) + int(b) + int(c) == int(total) for a, b, c, total in steps)
        assert "".join(total[-1] for *_, total in reversed(steps)) == f"{first + second:02d}"[-2:]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"digits": 0}, r"task\.digits=0: from 1 to 9"),
        ({"digits": 1, "train_rows": 90, "evaluation_rows": 20}, "not more than the 100 sums"),
        ({"answered": 0.0}, r"task\.answered=0\.0: a share"),
    ],
)
def test_sums_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Sums(**settings)


def test_a_run_with_sums(tmp_path: Path) -> None:
    sizes = "teacher.scratch={model_type: gpt2, n_layer: 2, n_embd: 32, n_head: 2}"
    result = run(
        compose(
            "task=sums", "task.train_rows=200", "task.evaluation_rows=20", "teacher=new_gpt2",
            "teacher.vocab_size=257", sizes, "teacher.epochs=1", "teacher.min_over_chance=-1",
            "task.keep.correct=false", "task.keep.complete=false", "objective=sequence",
            "student=layers", "student.num_layers=1", "trainer.max_epochs=1",
            "trainer.accelerator=cpu", f"store_dir={tmp_path}/store",
        ),
        tmp_path / "run",
    )  # fmt: skip
    assert result.rows["written"] == 200 - result.rows["selection"]
    assert set(result.metrics) == {"student", "baseline", "teacher"}
