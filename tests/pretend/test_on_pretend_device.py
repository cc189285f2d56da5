"""Runs the claims about the pretend device in processes of their own, since it changes torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

HERE = Path(__file__).parent
CLAIMS = {path.stem.removeprefix("claims_"): path for path in sorted(HERE.glob("claims_*.py"))}
WITH_FRAMEWORKS = ("command_line", "frontends", "methods", "surroundings")
"""Apart from the others, since to import Captum and dattri takes as long as many claims."""
NEEDED = "_setup_privateuseone_for_python_backend"

if not hasattr(backend_registration, NEEDED):
    reason = f"torch {torch.__version__} takes no device that is written in Python"
    pytest.skip(reason, allow_module_level=True)


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("with_frameworks", [True, False])
def test_the_claims_hold(with_frameworks):
    options = ("-q", "-p", "no:cacheprovider", "-o", "python_files=claims_*.py")
    chosen = [path for name, path in CLAIMS.items() if (name in WITH_FRAMEWORKS) == with_frameworks]
    run("pytest", *options, *chosen)
