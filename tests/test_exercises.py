"""The tutorial's exercises: stubs are cut from their solutions, solutions pass, wrong answers are told what is wrong,
and the grader outlives what students write."""
import ast
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_the_lecturers_table_adds_up():
    text, sums = (TUTORIAL / "LECTURER.md").read_text("utf-8"), [0, 0, 0]
    for chapter in range(2, 13):
        some = [e for e in EXERCISES.values() if e.number.split(".")[0] == str(chapter)]
        row = [len(some), sum(e.difficulty for e in some), sum(e.minutes for e in some)]
        assert re.search(rf"^\| {chapter} .* \| {row[0]} \| {row[1]} \| {row[2]} \|$", text, re.M), (chapter, row)
        sums = [a + b for a, b in zip(sums, row)]
    written = len(re.findall("^## W", (TUTORIAL / "exercises/written.md").read_text("utf-8"), re.M))
    assert f"\n{sums[0]} exercises are graded by a program ({sums[1]} points, about {sums[2] // 60} hours)" in text
    assert f"{written} are written ({4 * written} points)" in text
    for numbers in re.findall(r"\d+\.\d+", text):
        assert numbers in EXERCISES, numbers


# ---- What students write ---------------------------------------------------------------------------------------------

FREE = """
def spell(word):
    {}


def merge(symbols, pair):
    return ("ab", "ab", "c</w>")
"""
SPELL, MERGE = EXERCISES["2.1"], EXERCISES["2.3"]


@pytest.fixture(scope="module")
def grader():
    grader = grade.Sandbox()
    yield grader
    grader.kill()


@pytest.mark.parametrize("body, message", [
    ("while True: pass", "an endless loop?"), ("import time; time.sleep(60)", "an endless loop?"),
    ("raise SystemExit", "SystemExit"), ("import os; os._exit(0)", "has ended"), ("quit()", "SystemExit"),
    ("import ctypes; ctypes.string_at(0)", "has ended"), ("spell(word)", "RecursionError"),
    ("x = bytearray(10 ** 11)", "MemoryError"), ("print('x' * 10 ** 6); return word", "got 'hi'"),
    ("input()", "EOFError"), ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("1 / 0", "by zero (line 3)"),
    ("import os; os.write(1, b'{}'); os.close(2); return 0", "expected"), ("return object()", "which can't be graded"),
    ("import grade", "ModuleNotFoundError"), ("import compare", "ModuleNotFoundError"),
    ("import os\n    for fd in range(3, 20):\n        try: os.write(fd, b'nonsense\\n')\n        except OSError: pass",
     "could not be read"), ("import os; os.kill(os.getppid(), 9)", "expected"),
    ("import os; os.kill(0, 9)", "could not be read"),
    ("import os; os.fork() or [None for _ in iter(int, 1)]", "expected")],
    ids=lambda x: str(x)[:24])
def test_the_grader_outlives_what_students_write(body, message, grader, tmp_path):
    """... and grades the next exercise as if nothing had been."""
    (tmp_path / "ch02_tokens.py").write_text(FREE.format(body))
    grader.seconds = 1 if "endless" in message else 30
    row = grader.grade(SPELL, tmp_path)
    assert row["points"] == 0 and message in row["message"] and row["message"], row
    assert "a symbol was used twice" not in row["message"]
    grader.seconds = 30
    row = grader.grade(MERGE, tmp_path)
    assert row["message"].startswith('merge(("a", "a", "a")'), row


def test_what_cannot_even_be_loaded(grader, tmp_path):
    assert "there is no ch02_tokens.py" in grader.grade(SPELL, tmp_path)["message"]
    for source, message in (("def spell(:", "SyntaxError"), ("import nowhere", "ModuleNotFoundError"),
                            ("x = 1", "AttributeError"), ("raise SystemExit", "SystemExit")):
        (tmp_path / "ch02_tokens.py").write_text(source)
        assert message in grader.grade(SPELL, tmp_path)["message"]


def test_a_constant_form_that_no_check_expects(grader, tmp_path):
    """Whatever simple value a function returns, no exercise breaks, and none is passed."""
    for value in ("None", "0", "1.0", "True", "'a'", "[]", "(1, 2)", "[[1], 'a']", "{}", "torch.zeros(2, 3)",
                  "np.eye(4)"):
        lines = ["import torch", "import numpy as np"]
        for e in EXERCISES.values():
            if "." not in e.function:
                lines.append(f"def {e.function}(*arguments): return {value}")
        (tmp_path / "all.py").write_text("\n".join(lines))
        module = sandbox.load(tmp_path / "all.py")
        for e in (e for e in EXERCISES.values() if "." not in e.function):
            with pytest.raises(Exception):
                e.check(here(module))


# ---- Comparing, packing, the command line ----------------------------------------------------------------------------


def test_what_is_packed_comes_back():
    values = [1, 2.5, float("inf"), "é", None, True, b"\0\xff", (1, (2,)), {("a", 1): [2]}]
    tensors = [torch.tensor([True]), torch.ones(2, 3), torch.tensor(2)]
    again = sandbox.unpack(json.loads(json.dumps(sandbox.pack([*values, *tensors]))))
    assert again[:9] == values and all(map(torch.equal, again[9:], tensors))
    assert [x.dtype for x in again[9:]] == [torch.bool, torch.float32, torch.int64]
    with pytest.raises(TypeError, match="function"):
        sandbox.pack(lambda: 0)


def test_close_compares_shapes_before_values():
    assert equal(torch.ones(2), [1, 1]) and not equal(torch.ones(2, 1), [1, 1]) and not equal("1",
                                                                                              1) and not equal(None, 0)
    assert equal(1000.001, 1000.0) and not equal(1.1e-3, 1e-3) and equal(float("inf"), float("inf"))
    for got, message in ((torch.ones(3), "the shape is"), ([1.0, float("nan")], "infinite or undefined"),
                         ("a", "expected numbers"), ([2.0, 2.0], "twice"), ([1.0, 3.0], "expected [1.0, 2.0], got")):
        with pytest.raises(Wrong) as error:
            close(got, [1.0, 2.0], {"twice": [2.0, 2.0], "never": [1.0, 2.0]})
        assert message in str(error.value)
    close([1.0, 2.0], (1, 2), {"never": [1.0, 2.0]})


def test_scoreboard_json_and_hints(tmp_path, capsys):
    solutions = str(TUTORIAL / "solutions")
    assert grade.main(["2.1", "6.5", "--folder", solutions, "--json", str(tmp_path / "x.json")]) == 0
    out = capsys.readouterr().out
    assert "+ 2.1   spell" in out and "chapter 6: 3 of 3 points" in out and out.endswith("all: 4 of 4 points\n")
    assert [row["points"] for row in json.loads((tmp_path / "x.json").read_text())] == [1, 3]
    assert grade.main(["2.1", "--hint", "2"]) == 0 and "BYTES" in capsys.readouterr().out
    assert grade.main(["99"]) == 2 and "no exercise or chapter 99" in capsys.readouterr().err


def test_a_folder_of_submissions(tmp_path, capsys):
    """One student has solved chapter 11, one has deleted it, one's file ends at once."""
    solution = (TUTORIAL / "solutions/ch11_robustness.py").read_text("utf-8")
    for name, text in {"ada": solution, "bob": "", "eve": "raise SystemExit"}.items():
        (tmp_path / name / "exercises").mkdir(parents=True)
        if text:
            (tmp_path / name / "exercises/ch11_robustness.py").write_text(text, "utf-8")
    assert grade.main(["11", "--all", str(tmp_path)]) == 0
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: float(row["points"]) for name, row in rows.items()} == {"ada": 4, "bob": 0, "eve": 0}
    assert rows["ada"]["11.1"] == "3.0" and rows["ada"]["of"] == "4"
    assert "there is no ch11" in (tmp_path / "bob/feedback.txt").read_text()
    assert "SystemExit" in (tmp_path / "eve/feedback.txt").read_text()


def test_pytest_grades_the_exercises_only_when_asked_to():
    ignore = sandbox.load(TUTORIAL / "exercises/conftest.py").pytest_ignore_collect
    for args, folder, expected in ((["tutorial/exercises"], TUTORIAL.parent, None),
                                   (["."], TUTORIAL / "exercises", None),
                                   (["test_grades.py::test_exercise[2.1]"], TUTORIAL / "exercises", None),
                                   ([str(TUTORIAL.parent)], TUTORIAL.parent, True), (["tests"], TUTORIAL.parent, True)):
        config = SimpleNamespace(args=args, invocation_params=SimpleNamespace(dir=folder))
        assert ignore(TUTORIAL / "exercises/test_grades.py", config) is expected, args


@pytest.mark.slow
def test_pytest_grades_and_stubs_are_stubs():
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    shown = subprocess.run([*run, TUTORIAL / "exercises"], capture_output=True, text=True, cwd=TUTORIAL.parent).stdout
    assert f"{len(EXERCISES)} failed" in shown and "2.1 spell: not written yet" in shown
    shown = subprocess.run([*run, "--collect-only", "tutorial"], capture_output=True, text=True,
                           cwd=TUTORIAL.parent).stdout
    assert "test_exercise[" not in shown


# ---- A CLIP of one's own functions -----------------------------------------------------------------------------------


@pytest.fixture
def own_clip():
    """own_clip.py, and all that it replaces put back afterwards."""
    import own_clip
    owners = [own_clip.clip_minimal, own_clip.train_tiny, own_clip.zeroshot, *(
        value for value in vars(own_clip.clip_minimal).values() if isinstance(value, type))]
    before = [dict(vars(owner)) for owner in owners]
    yield own_clip
    for owner, names in zip(owners, before):
        for name, value in names.items():
            if vars(owner)[name] is not value:
                setattr(owner, name, value)


@pytest.mark.slow
def test_own_functions_make_the_same_clip(own_clip):
    """With the solutions in place of the repository's functions everything is as it was, and each of them is used."""
    def measure():
        clip, tiny, shot = own_clip.clip_minimal, own_clip.train_tiny, own_clip.zeroshot
        data = tiny.World(0)
        tokenizer, results = clip.Tokenizer.train(data.texts()[:800], 640), []
        for config in (clip.CLIPConfig(16, 48, (1, 1, 1, 1), 4, None, 64, 1, 48, len(tokenizer.vocab)),
                       clip.CLIPConfig(16, 48, 2, 64, 16, 64, 1, 48, len(tokenizer.vocab))):
            torch.manual_seed(0)
            model = clip.CLIP(config)
            with torch.no_grad():
                model.logit_scale.fill_(9.0)  # above the clamp
            history = tiny.train(data, model, tokenizer, 2, 8, every=1)
            weights = shot.zero_shot_classifier(model, tokenizer, ["a sun", "a cat"], ["{}", "two {}"])
            decay = {id(x): group["weight_decay"] for group in tiny.make_optimizer(model, 1, 0.1, 0.2).param_groups
                     for x in group["params"]}
            results += [torch.tensor([decay[id(x)] for x in model.parameters()])]
            results += [weights, model.logit_scale.data, torch.tensor([row["loss"] for row in history]),
                        torch.tensor(list(history[-1]["accuracy"].values()))]
        found = shot.retrieval(torch.eye(5), torch.eye(5).roll(1, 0) + 0.6 * torch.eye(5)[:1], torch.eye(5).bool(), [1])
        results.append(torch.tensor(list(found.values())))
        ids = tokenizer.encode("a red naïve sun")
        return results, tokenizer.merges, ids, tokenizer.decode(ids)

    expected, used = measure(), set()
    mine = {int(path.stem[2:4]): sandbox.load(path) for path in (TUTORIAL / "solutions").glob("ch*.py")}
    for number in own_clip.USED:
        kind, _, name = EXERCISES[number].function.rpartition(".")
        owner = mine[int(number.split(".")[0])]
        owner = getattr(owner, kind) if kind else owner

        def watched(*arguments, number=number, function=getattr(owner, name)):
            used.add(number)
            return function(*arguments)

        setattr(owner, name, watched)
    own_clip.adopt(mine, own_clip.WHAT)
    got = measure()
    assert got[1:] == expected[1:] and used == own_clip.USED
    for x, y in zip(got[0], expected[0]):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_training_tells_what_is_missing(own_clip, capfd):
    assert grade.main(["--train", "--minutes", "0.05"]) == 0
    out = capfd.readouterr().out
    assert "contrastive loss           from the repository; missing: 6.2" in out and "0 of 15 pieces are yours" in out
