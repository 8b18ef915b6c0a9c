"""What PyTorch computes here is small: a second thread would only wait, busily, for the first."""

import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # Loaded by the modules that need it.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
