"""A test for each exercise, which says what is wrong. The scoreboard: python tutorial/grade.py"""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))
import grade

EXERCISES = grade.read_exercises()


@pytest.fixture(scope="module")
def sandbox():
    sandbox = grade.Sandbox()
    yield sandbox
    sandbox.kill()


@pytest.mark.parametrize("number", EXERCISES)
def test_exercise(number, sandbox):
    row = sandbox.grade(EXERCISES[number], Path(__file__).parent)
    if row["message"]:
        pytest.fail(f"{number} {row['function']}: {row['message']}", pytrace=False)
