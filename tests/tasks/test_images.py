"""Pictures: read from files of every kind, moved, left out, and distilled."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from distill_lab.errors import ConfigError, DataError
from distill_lab.forward import forward
from distill_lab.hydra_entry import compose
from distill_lab.mlp import MLPConfig, MLPForImageClassification
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.store import Store
from distill_lab.tasks import Images
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.images import best_bias
from distill_lab.tasks.pictures import Pictures, from_folder, from_idx, read_idx
from distill_lab.tasks.pixel_rows import PixelRows, moved
from distill_lab.types import Batch
from tests.conftest import besides

CLASSES = 4


def drawn(count: int, seed: int) -> Pictures:
    """Noisy pictures whose class is the quarter that is bright."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    pixels = random.integers(0, 120, (count, 8, 8, 1)).astype(np.uint8)
    for row, label in enumerate(labels):
        down, right = divmod(int(label), 2)
        pixels[row, 4 * down : 4 * down + 4, 4 * right : 4 * right + 4] += 90
    return Pictures(np.arange(count), pixels, labels.astype(np.int64))


def write_idx(path: Path, array: np.ndarray, packed: bool = True) -> Path:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 600), ("test", 200)):
        pictures = drawn(count, len(part))
        write_idx(folder / f"{part}-images.gz", pictures.pixels[..., 0])
        write_idx(folder / f"{part}-labels.gz", pictures.labels)
    return folder


@pytest.fixture
def images(place: Path, tmp_path: Path) -> Callable[..., Result]:
    """Distil a tiny network with further overrides."""

    def go(*overrides: str, out: str = "run") -> Result:
        base = [
            "task=mnist", "teacher=mlp", "student=mlp", f"task.data_dir={place}",
            "task.files.train=[train-images.gz,train-labels.gz]",
            "task.files.evaluation=[test-images.gz,test-labels.gz]",
            'task.labels=["0","1","2","3"]', "task.size=[8,8]", "task.jitter=1",
            "teacher.scratch.hidden_sizes=[32,32]", "teacher.epochs=8", "teacher.lr=5e-3",
            "student.sizes.hidden_sizes=[8]", "optim.lr=5e-3", "optim.batch_size=32",
            "trainer.max_epochs=3", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1",
            f"store_dir={tmp_path}/store",
        ]  # fmt: skip
        return run(compose(*besides(base, overrides), *overrides), tmp_path / out)

    return go


def task(place: Path, **settings: object) -> Images:
    given = {
        "files": {
            "train": ["train-images.gz", "train-labels.gz"],
            "evaluation": ["test-images.gz", "test-labels.gz"],
        },
        "size": [8, 8], "channels": 1, "mean": [0.5], "std": [0.25],
        "labels": ["0", "1", "2", "3"], **settings,
    }  # fmt: skip
    return Images(name="pictures", data_dir=str(place), **given)  # type: ignore[arg-type]


# Reading


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_as_they_were_written(packed: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    name = "a.gz" if packed else "a"
    assert np.array_equal(read_idx(write_idx(tmp_path / name, array, packed), 3), array)


def test_mnist_is_what_it_should_be(shared: Path) -> None:
    folder = shared / "data" / "mnist"
    train = from_idx(
        folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz", 10
    )
    assert train.pixels.shape == (60000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    values = train.pixels / 255
    assert values.mean() == pytest.approx(0.1307, abs=1e-4)
    assert values.std() == pytest.approx(0.3081, abs=1e-4)


BROKEN = {
    "no IDX": (b"PNG and so on, which is long enough", "not an IDX file of bytes"),
    "labels for pictures": (bytes([0, 0, 8, 1]) + struct.pack(">I", 9) + b"1" * 20, "not an IDX"),
    "cut off": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 3) + b"1" * 10, "fewer bytes"),
    "too long": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 1, 1) + b"12", "more bytes"),
    "a bomb": (bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**16] * 3), "announces"),
    "no gzip": (None, "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str, tmp_path: Path) -> None:
    content, said = BROKEN[name]
    path = tmp_path / ("a" if content else "a.gz")
    path.write_bytes(content or b"not packed")
    with pytest.raises(DataError, match=said) as told:
        read_idx(path, 3)
    assert str(path) in str(told.value)


def test_pictures_and_labels_belong_together(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "i.gz", np.zeros((3, 2, 2)))
    with pytest.raises(DataError, match="2 labels for the 3 pictures"):
        from_idx(images, write_idx(tmp_path / "l.gz", np.zeros(2)), 10)
    with pytest.raises(DataError, match="row 1: 7 is none of 5 classes"):
        from_idx(images, write_idx(tmp_path / "l.gz", np.asarray([0, 7, 9])), 5)


def test_folders_of_pictures(tmp_path: Path) -> None:
    for label, value in (("cat", 10), ("dog", 200)):
        (tmp_path / label).mkdir()
        Image.new("RGB", (6, 4), (value, 0, 0)).save(tmp_path / label / "one.png")
    Image.new("L", (3, 3), 50).save(tmp_path / "dog" / "two.bmp")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    found = from_folder(tmp_path, ["cat", "dog"], [4, 6], 3)
    assert found.pixels.shape == (3, 4, 6, 3) and found.labels.tolist() == [0, 1, 1]
    assert found.pixels[0, 0, 0].tolist() == [10, 0, 0]
    assert found.pixels[2, 2, 2].tolist() == [50, 50, 50]
    (tmp_path / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"broken\.png: not a readable picture"):
        from_folder(tmp_path, ["cat", "dog"], [4, 6], 3)
    with pytest.raises(DataError, match="no folder bird; one folder of pictures for each class"):
        from_folder(tmp_path, ["bird", "dog"], [4, 6], 3)


# Rows


def by_id(loader: Iterable[Batch]) -> dict[int, torch.Tensor]:
    return {
        int(number): pixels
        for batch in loader
        for number, pixels in zip(batch.ids, batch.inputs["pixel_values"], strict=True)
    }


def test_pictures_are_standardised() -> None:
    rows = PixelRows(drawn(20, 0), [0.5], [0.25])
    batch = rows.__getitems__([3, 1])
    values = batch.inputs["pixel_values"]
    assert values.shape == (2, 1, 8, 8) and values.dtype == torch.float32
    expected = (rows.pixels[[3, 1]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert batch.count("answers") == batch.count("rows") == 2


def test_pictures_are_moved_by_id_and_epoch() -> None:
    rows = PixelRows(drawn(400, 0), [0.0], [1.0], jitter=2)
    where = np.arange(400)
    moves = [rows.moves(where, epoch) for epoch in range(20)]
    assert np.array_equal(moves[3], rows.moves(where, 3))
    everything = np.concatenate(moves)
    assert set(map(tuple, everything)) == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    for axis in (0, 1):
        share = np.unique(everything[:, axis], return_counts=True)[1] / len(everything)
        assert share == pytest.approx([0.2] * 5, abs=0.02)
    assert abs(np.corrcoef(everything.T)[0, 1]) < 0.05
    loader = training_batches(rows, 50, seed=0)
    first = {
        int(i): x for b in loader for i, x in zip(b.ids, b.inputs["pixel_values"], strict=True)
    }
    loader.batch_sampler.set_epoch(1)  # type: ignore[union-attr]
    later = {
        int(i): x for b in loader for i, x in zip(b.ids, b.inputs["pixel_values"], strict=True)
    }
    assert np.mean([torch.equal(first[i], later[i]) for i in first]) < 0.1


def test_moving_shifts_and_fills_with_nothing() -> None:
    pixels = np.arange(1, 13, dtype=np.uint8).reshape(1, 3, 4, 1).repeat(3, axis=0)
    found = moved(pixels, np.asarray([[1, 0], [0, -2], [0, 0]]))[..., 0]
    assert found[0].tolist() == [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert found[1].tolist() == [[3, 4, 0, 0], [7, 8, 0, 0], [11, 12, 0, 0]]
    assert np.array_equal(found[2], pixels[2, ..., 0])


def test_the_transfer_set_lacks_what_is_left_out(place: Path, tmp_path: Path) -> None:
    made = task(place, left_out=["3"], jitter=1)
    splits = made.load()
    data = made.encode(splits, None, Store(tmp_path))
    assert 3 not in data.train.labels and 3 in data.selection.labels
    assert data.teacher_train is not None and 3 in data.teacher_train.labels
    assert len(data.teacher_train) + len(data.selection) == 600
    assert isinstance(data.train, PixelRows) and isinstance(data.of_teacher().train, PixelRows)
    assert (data.train.jitter, data.of_teacher().train.jitter) == (0, 1)
    assert set(data.train.ids) < set(data.teacher_train.ids)
    whole = task(place, jitter=0).load()
    assert whole.teacher_train is None
    assert whole.fingerprints["train"] == splits.fingerprints["teacher"]


# The network


def test_the_network_is_the_one_of_the_paper(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MLPConfig(hidden_sizes=[1200, 1200], num_labels=10)
    model = MLPForImageClassification(config)
    assert sum(p.numel() for p in model.parameters()) == 785 * 1200 + 1201 * 1200 + 1201 * 10
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    pictures = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(again(pictures).logits, model.eval()(pictures).logits)
    first = pictures.flatten(1) @ model.layers[0].weight.T + model.layers[0].bias
    second = first.relu() @ model.layers[1].weight.T + model.layers[1].bias
    expected = second.relu() @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(pictures).logits, expected)
    with pytest.raises(ValueError, match="at least one layer"):
        MLPConfig(hidden_sizes=[])


def test_units_are_dropped_only_in_training() -> None:
    torch.manual_seed(0)
    model = MLPForImageClassification(MLPConfig(hidden_sizes=[64], hidden_dropout=0.5))
    pictures = torch.randn(2, 1, 28, 28)
    assert not torch.equal(model.train()(pictures).logits, model(pictures).logits)
    assert torch.equal(model.eval()(pictures).logits, model(pictures).logits)


# Runs


def test_a_run_compares(images: Callable[..., Result], tmp_path: Path) -> None:
    result = images()
    assert result.choices["teacher_name"] == "mlp 32-32"
    assert result.main("teacher") > 0.9 and result.main("student") > 0.6
    assert result.rows == {"train": 540, "selection": 60, "evaluation": 200}
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    for name in ("teacher", "student", "baseline"):
        assert (table[name] == table["label"]).mean() == pytest.approx(result.main(name))
    card = (tmp_path / "run" / "student" / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card
    student = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "student")
    rows = PixelRows(drawn(200, len("test")), [0.1307], [0.3081])
    logits = forward(student.eval(), rows.__getitems__(range(200))).logits
    torch.testing.assert_close(
        logits, torch.tensor(np.stack(table["student_logits"])), rtol=1e-4, atol=1e-4
    )


def test_cache_on_equals_cache_off(images: Callable[..., Result], tmp_path: Path) -> None:
    for when in ("on", "off"):
        images(f"teacher.cache={when}", "baseline=false", out=when)
    on, off = (pd.read_csv(tmp_path / when / "metrics.csv") for when in ("on", "off"))
    names = [name for name in on if name.startswith("train/")]
    pd.testing.assert_frame_equal(on[names], off[names], rtol=1e-5, atol=1e-6)


def test_moved_pictures_have_no_kept_signals(
    images: Callable[..., Result], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level("INFO"):
        images("task.jitter_student=true", "trainer.max_epochs=1", "baseline=false")
    assert "runs for every batch; pictures are moved by other pixels in each epoch" in caplog.text
    images("trainer.max_epochs=1", "baseline=false", out="still")  # of the teacher nothing changes
    assert len(list((tmp_path / "store" / "teachers").glob("*/entry.json"))) == 1


def test_a_class_that_is_left_out_is_answered_once_its_bias_is_raised(
    images: Callable[..., Result], tmp_path: Path
) -> None:
    """As the paper's digit 3: who has not seen it never answers it, until its bias is raised."""
    result = images(
        'task.left_out=["3"]',
        "objective.lam=1.0",
        "objective.temperature=5",
        "trainer.max_epochs=8",
    )
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    threes = table[table["label"] == 3]
    assert (threes["teacher"] == 3).mean() > 0.8
    assert (threes["baseline"] == 3).mean() == 0
    scores = result.metrics
    assert scores["baseline"]["accuracy_bias_corrected"] > scores["baseline"]["accuracy"] + 0.05
    for model in scores.values():
        assert model["accuracy_bias_corrected"] >= model["accuracy"] - 0.02
    assert len(list((tmp_path / "store" / "teachers").glob("*/config.json"))) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_best_bias_is_that_of_a_search(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(60, 4, generator=generator)
    labels = torch.randint(4, (60,), generator=generator)
    logits[:, 2] -= 2

    def right(bias: float) -> int:
        raised = logits.clone()
        raised[:, 2] += bias
        return int((raised.argmax(dim=1) == labels).sum())

    found = right(best_bias(logits, labels, 2))
    assert found == max(right(bias) for bias in np.linspace(-8, 8, 3201))


REFUSED = {
    "an objective that looks inside": ("objective=hidden", "looks at the hidden states"),
    "a sum that looks inside": (
        "objective=combine +objective@objective.parts.h=hidden +objective.weights.h=1",
        "looks at the hidden states",
    ),
    "an unknown class": ('task.left_out=["9"]', "task.left_out: 9 is no class"),
    "all classes": ('task.left_out=["0","1","2"]', "at least two classes have to stay"),
    "another size": ("task.size=[9,9]", "pictures of 8 x 8 pixels"),
    "one file": ("task.files.train=[train-images.gz]", "two files, pictures and labels"),
    "layers of no stack": ("student=layers student.num_layers=1", "no stack of layers"),
    "two means": ("task.mean=[0.1,0.2]", "task.channels=1: 1 or 3"),
    "a folder that is not there": ("task.data_dir=nowhere", "there is no such folder"),
    "no units": ("student.sizes.hidden_sizes=[]", "student.sizes: no model can be made"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str, images: Callable[..., Result]) -> None:
    line, said = REFUSED[name]
    with pytest.raises((ConfigError, DataError), match=said):
        images(*line.split(" "))


def test_a_vision_transformer_is_distilled(images: Callable[..., Result]) -> None:
    sizes = (
        "{model_type: vit, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,"
        " intermediate_size: 32, patch_size: 4}"
    )
    result = images(
        "student=scratch", f"student.sizes={sizes}", "trainer.max_epochs=1", "baseline=false"
    )
    assert result.main("student") > 0.2
