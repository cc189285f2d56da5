"""Runs the claims about the pretend device, each file in a process of its own: it changes torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

HERE = Path(__file__).parent
CLAIMS = sorted(path.name for path in HERE.glob("claims_*.py"))
NEEDED = "_setup_privateuseone_for_python_backend"

if not hasattr(backend_registration, NEEDED):
    reason = f"torch {torch.__version__} takes no device that is written in Python"
    pytest.skip(reason, allow_module_level=True)


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("claims", CLAIMS)
def test_the_claims_hold(claims):
    options = ("-q", "-p", "no:cacheprovider", "-o", "python_files=claims_*.py")
    run("pytest", *options, HERE / claims)
