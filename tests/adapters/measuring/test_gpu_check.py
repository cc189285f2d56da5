"""The check for the day a GPU can be had runs on a processor, and finds what is wrong."""

import json

import torch

from retrac_adapters.measuring.gpu_check import golden, parts
from retrac_adapters.measuring.gpu_check.__main__ import main
from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.demo import compare_switches
from retrac_adapters.measuring.gpu_check.facts import Fact, table
from retrac_adapters.measuring.gpu_check.setting import SCALES
from tests.adapters.measuring.golden import inputs, results, stored
from tests.tensor_cores import TensorCores

CPU, TINY = torch.device("cpu"), SCALES["tiny"]


def test_it_runs_and_scores_are_right(tmp_path, capsys):
    facts, page = tmp_path / "facts.json", tmp_path / "table.md"
    options = ["--device", "cpu", "--scale", "tiny", "--patience", "1000"]
    status = main([*options, "--json", str(facts), "--table", str(page)])
    assert status == 0, capsys.readouterr().out
    found = json.loads(facts.read_text())["parts"]
    assert len(found) == len(parts.PARTS)
    assert not any(part["note"] for part in found)
    by_row = {fact["row"][0]: fact["value"] for fact in found[0]["facts"]}
    assert by_row["diffusion-retrac, float64"] <= 1e-9
    assert by_row["float32, the same call again"] == 0
    assert "| tiny | bfloat16 |" in page.read_text()


def test_the_golden_case_is_what_plain_loops_compute():
    tensors = stored()
    assert {name for name in tensors if "/" not in name} == {
        *(name for name in inputs() if "/" not in name),
        *golden.METHODS,
        "gradient_norms",
    }
    for name, expected in results(tensors).items():
        torch.testing.assert_close(tensors[name], expected, rtol=1e-9, atol=1e-13)


def test_wrong_scores_fail(monkeypatch):
    tensors = stored()
    tensors["diffusion_retrac"] *= 1 + 1e-8
    monkeypatch.setattr(golden, "load_file", lambda _: tensors)
    failed = [fact.row[0] for fact in golden.check_golden(CPU, Clock(3600)) if fact.failed]
    assert failed == ["diffusion-retrac, float64"]


def test_a_part_is_cut_between_batches(capsys):
    outcome = parts.run("memory", TINY, CPU, patience=0.0)
    assert outcome.note.startswith("Cut after ")
    assert not outcome.failed
    assert "memory: Cut" in capsys.readouterr().out


def test_a_part_that_fails_lets_the_others_go_on(monkeypatch, tmp_path):
    def broken(scale, device, clock):
        yield Fact(("one",), "found", 1.0)
        raise RuntimeError("misaligned address")

    monkeypatch.setattr(parts, "PARTS", {})
    for name, facts in (("broken", broken), ("whole", lambda *_: iter([Fact(("two",), "x", 2)]))):
        parts.PARTS[name] = parts.Part(name, ("",), 9, facts)
    first, second = (parts.run(name, TINY, CPU) for name in parts.PARTS)
    assert first.failed
    assert "| one | 1 |" in str(first)
    assert "RuntimeError: misaligned address" in str(first)
    assert not second.failed


def test_a_check_fails_by_its_bound_and_where_it_is_no_number():
    assert Fact(("a",), "found", 2.0, at_most=1.0).failed
    assert Fact(("a",), "found", float("nan"), at_most=1.0).failed
    assert not Fact(("a",), "found", 1.0, at_most=1.0).failed
    made = table(("",), [Fact(("a",), "x", 2.0, at_most=1.0), Fact(("b",), "y", 12345.6)])
    assert made.splitlines()[2:] == ["| a | 2 (at most 1) **FAILED** | - |", "| b | - | 12,346 |"]


def test_tf32_moves_scores_where_a_card_reads_it():
    with TensorCores():
        facts = {
            (*fact.row, fact.column): fact.value
            for fact in compare_switches(TINY, CPU, Clock(3600))
        }
    for method in ("Diffusion-TracIn", "Diffusion-ReTrac"):
        changes = [
            value
            for (name, of, column), value in facts.items()
            if of == method and column == "relative change"
        ]
        assert changes[0] == 0
        assert all(1e-6 < change < 0.1 for change in changes[1:])
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
