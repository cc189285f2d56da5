import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.attribution.top_records import top_records
from retrac_plugin.errors import InputError

VALUES = torch.tensor([[0.5, -2.0, 3.0, 0.0], [1.0, 2.0, -1.0, -3.0]])


def test_proponents_are_the_highest_first():
    top = Scores(VALUES).proponents(2)
    assert top.indices.tolist() == [[2, 0], [1, 0]]
    assert top.values.tolist() == [[3.0, 0.5], [2.0, 1.0]]


def test_opponents_are_the_lowest_first():
    top = Scores(VALUES).opponents(3)
    assert top.indices.tolist() == [[1, 3, 0], [3, 2, 0]]
    assert top.values.tolist() == [[-2.0, 0.0, 0.5], [-3.0, -1.0, 1.0]]


@pytest.mark.parametrize("k", [0, 5])
def test_k_must_fit_the_set(k):
    with pytest.raises(InputError, match=f"between 1 and the 4 training samples, got {k}"):
        Scores(VALUES).proponents(k)


def test_scores_survive_saving(tmp_path):
    path = tmp_path / "new" / "scores.safetensors"
    Scores(VALUES.T, torch.ones(1, 4), {"method": "a", "steps": [1, None]}).save(path)
    loaded = Scores.load(path)
    assert torch.equal(loaded.values, VALUES.T)
    assert torch.equal(loaded.gradient_norms, torch.ones(1, 4))
    assert loaded.about == {"method": "a", "steps": [1, None]}


def test_what_pictures_were_told_is_kept_beside_their_names(tmp_path):
    path = tmp_path / "scores.safetensors"
    told = ("a cat", "<b>", "", "a\ndog")
    Scores(VALUES, train_names=tuple("abcd"), prompts=("x", "y"), train_prompts=told).save(path)
    loaded = Scores.load(path)
    assert (loaded.train_names, loaded.prompts) == (tuple("abcd"), ("x", "y"))
    assert loaded.train_prompts == told
    Scores(VALUES, train_prompts=("a", "b")).save(path)
    with pytest.raises(InputError, match="its norms, errors or names do not fit"):
        Scores.load(path)


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "scores.safetensors"
    Scores(VALUES).save(path)

    def fail(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("retrac_plugin.attribution.tensor_files.save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        Scores(VALUES + 1).save(path)
    assert torch.equal(Scores.load(path).values, VALUES)
    assert list(tmp_path.iterdir()) == [path]


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "scores.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot read scores"):
        Scores.load(path)
    from safetensors.torch import save_file

    save_file({"values": VALUES}, path)
    with pytest.raises(InputError, match="holds no scores of format 1"):
        Scores.load(path)
    with pytest.raises(InputError, match="cannot read scores"):
        Scores.load(tmp_path / "missing")


def test_the_ends_of_the_lists_are_records_from_the_ends_inwards():
    scores = Scores(
        torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, -2.0]]),
        train_names=("a", "b", "c"),
        query_names=("x", "y"),
    )
    found = [(r.query_name, r.side, r.rank, r.train_name, r.score) for r in top_records(scores, 2)]
    assert found == [
        ("x", "highest", 1, "c", 2.0),
        ("x", "highest", 2, "a", 0.5),
        ("x", "lowest", 1, "b", -1.0),
        ("x", "lowest", 2, "a", 0.5),
        ("y", "highest", 1, "b", 3.0),
        ("y", "highest", 2, "a", 0.0),
        ("y", "lowest", 1, "c", -2.0),
        ("y", "lowest", 2, "a", 0.0),
    ]
    assert next(top_records(Scores(scores.values), 1)).train_name == ""


def test_a_frame_holds_the_records_and_reads_back_from_parquet(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    scores = Scores(torch.tensor([[0.5, -1.0, 2.0]]), train_names=("a", "b", "c"))
    frame = scores.to_frame(2)
    assert frame.train_name.tolist() == ["c", "a", "b", "a"]
    frame.to_parquet(tmp_path / "top.parquet")
    assert pandas.read_parquet(tmp_path / "top.parquet").equals(frame)
