"""Feed and detector killed at each step and at random, doubled, and their database restarted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from training_assets_tests.reliability.campaign.outcome import Outcome

_EVERY_STEP = 20
_MODULE = "training_assets_tests.reliability.transaction_kills"


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """50 kills at random and one at every step for ``times`` 20; with less, at some of the steps.

    ``seed`` is the one of the module that is run.
    """
    at_random = _done(scratch, "random", times * 5 // 2)
    outcomes = [
        _outcome(
            "SIGKILL of feed and detector at a random moment",
            at_random["kills"],
            f"{at_random['amid_chunks']} struck between the first and the last of 60 chunks; each "
            "was started again until all was done",
            at_random,
        )
    ]
    for mechanism in ("feed", "detect"):
        stride = max(1, _EVERY_STEP // max(1, times))
        found = _done(scratch, mechanism, stride)
        steps = "each" if stride == 1 else f"one of {stride}"
        result = f"{steps} of all statements, ends of transactions and files in turn"
        outcomes.append(
            _outcome(f"SIGKILL at each step: {mechanism}", found["kills"], result, found)
        )
    two, restart = _done(scratch, "two", times), _done(scratch, "restart", times)
    outcomes.append(_outcome("two detectors at once", times, "each chunk was applied once", two))
    result = f"{restart['struck']} struck a detector at work, which went on when it was back"
    outcomes.append(_outcome("database ends as by a loss of power", times, result, restart))
    return outcomes


def _outcome(kind: str, times: int, result: str, found: dict[str, Any]) -> Outcome:
    wrong = found["wrong"]
    end = f"NOT AS PROMISED: {'; '.join(wrong)}" if wrong else "all as an undisturbed run gives"
    print(kind, times, end, flush=True)
    return Outcome("transactions", kind, times, f"{result}; {end}", 0, len(wrong))


def _done(scratch: Path, what: str, number: int) -> dict[str, Any]:
    root = scratch / what
    root.mkdir()
    command = [sys.executable, "-m", _MODULE, str(root), what, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
