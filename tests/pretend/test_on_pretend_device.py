"""Runs the claims about the pretend device in processes of their own, since it changes torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

HERE = Path(__file__).parent
CLAIMS = sorted(HERE.glob("claims_*.py"))
PROCESSES = 2
"""Side by side; each starts torch, diffusers and the frameworks once."""
NEEDED = "_setup_privateuseone_for_python_backend"

if not hasattr(backend_registration, NEEDED):
    reason = f"torch {torch.__version__} takes no device that is written in Python"
    pytest.skip(reason, allow_module_level=True)


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("process", range(PROCESSES))
def test_the_claims_hold(process):
    options = ("-q", "-p", "no:cacheprovider", "-o", "python_files=claims_*.py")
    run("pytest", *options, *CLAIMS[process::PROCESSES])
