"""The tutorial's exercises: stubs are cut from their solutions, solutions pass, wrong answers are told what is wrong, and
the grader outlives what students write."""
import ast
import csv
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import torch

TUTORIAL = Path(__file__).resolve().parent.parent / "tutorial"
sys.path.append(str(TUTORIAL))
import grade
import make_exercises
import sandbox
from compare import Wrong, close, equal

pytestmark = pytest.mark.filterwarnings("ignore")  # of overflow, in the wrong answers
EXERCISES = grade.read_exercises()
WRONG = {path.name: path.read_text("utf-8") for path in sorted((TUTORIAL / "solutions/wrong").glob("*.py"))}
MISTAKES = [(file, node.name, ast.get_docstring(node)) for file, source in WRONG.items()
            for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and "__" in node.name]


def here(module):
    """A Student whose functions run in this process: to load torch for each of the wrong answers would take minutes."""
    def work(source, inputs):
        packed = json.loads(json.dumps(sandbox.pack(inputs)))
        try:
            reply = sandbox.pack(sandbox.work(module, source, sandbox.unpack(packed)))
        except NotImplementedError as error:
            raise Wrong(f"not written yet {error}") from None
        except Exception as error:
            raise Wrong(f"{type(error).__name__}: {error}") from None
        return sandbox.unpack(json.loads(json.dumps(reply)))

    return grade.Student(work)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- Stubs, solutions, wrong answers ---------------------------------------------------------------------------------


def test_stubs_are_cut_from_the_solutions():
    for name, text in make_exercises.make().items():
        assert (TUTORIAL / "exercises" / name).read_text("utf-8") == text, f"run make_exercises.py: {name}"
        assert "solution\n" not in text and "-->" not in text


@pytest.mark.parametrize("number", EXERCISES)
def test_a_stub_fails_for_its_stated_reason(number):
    exercise = EXERCISES[number]
    path = TUTORIAL / "exercises" / exercise.file
    with pytest.raises(Wrong) as error:
        exercise.check(here(sandbox.load(path)))
    stub = path.read_text("utf-8").split(f"# Exercise {number}:")[1].split("\n# Exercise")[0]
    assert (f'NotImplementedError("Exercise {number}")' in stub) == (exercise.kind != "bug")
    assert exercise.kind == "bug" or str(error.value) == f"not written yet Exercise {number}"
    assert "Error: " not in str(error.value) or exercise.kind == "bug"


@pytest.mark.parametrize("number", EXERCISES)
def test_a_solution_passes(number):
    exercise = EXERCISES[number]
    exercise.check(here(sandbox.load(TUTORIAL / "solutions" / exercise.file)))


@pytest.mark.parametrize("file, name, message", MISTAKES, ids=[name for _, name, _ in MISTAKES])
def test_a_wrong_answer_is_told_what_is_wrong(file, name, message):
    module, target = sandbox.load(TUTORIAL / "solutions" / file), name.split("__")[0]
    exercise = next(e for e in EXERCISES.values() if e.function.replace(".", "_") == target)
    exec(WRONG[file], vars(module))
    owner, _, attribute = exercise.function.rpartition(".")
    setattr(getattr(module, owner) if owner else module, attribute, getattr(module, name))
    with pytest.raises(Wrong) as error:
        exercise.check(here(module))
    assert message in str(error.value)


def test_each_exercise_has_three_wrong_answers_and_three_hints():
    for e in EXERCISES.values():
        names = [name for _, name, _ in MISTAKES if name.split("__")[0] == e.function.replace(".", "_")]
        assert len(names) >= 3, f"{e.number} {e.function}: {names}"
        assert len(e.hints) == 3 and all(len(hint) > 10 for hint in e.hints)
    assert len(EXERCISES) == len(re.findall(r"^## ", (TUTORIAL / "hints.md").read_text("utf-8"), re.M))
