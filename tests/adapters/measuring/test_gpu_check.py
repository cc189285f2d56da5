"""The script for the day a GPU can be had runs on a processor, where its scores are right."""

import json

from retrac_adapters.measuring.gpu_check.__main__ import main


def test_it_runs_and_its_scores_are_right(tmp_path, capsys):
    facts, table = tmp_path / "facts.json", tmp_path / "table.md"
    status = main(
        ["--device", "cpu", "--size", "tiny", "--json", str(facts), "--table", str(table)]
    )
    found = json.loads(facts.read_text())
    assert status == 0, capsys.readouterr().out
    assert found["float64 against the CPU's float64"] <= 1e-9
    assert found["float32 from run to run"] == 0
    assert "| blocks of 2^23: seconds |" in table.read_text()
