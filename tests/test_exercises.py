"""The tutorial's exercises: stubs are cut from their solutions, solutions pass, wrong answers are told
what is wrong, and the grader outlives what students write.
"""
import ast
import csv
import io
import json
import os
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


def read_wrong_answers():
    """-> {file name: source}, and (file name, function, what the grader must say) of each wrong answer."""
    sources = {}
    mistakes = []
    for path in sorted((TUTORIAL / "solutions/wrong").glob("*.py")):
        sources[path.name] = path.read_text("utf-8")
        for node in ast.parse(sources[path.name]).body:
            if isinstance(node, ast.FunctionDef) and "__" in node.name:
                mistakes.append((path.name, node.name, ast.get_docstring(node)))
    return sources, mistakes


WRONG, MISTAKES = read_wrong_answers()


def here(module):
    """A Student whose functions run in this process: loading torch for each answer would take minutes."""
    def through_json(value):
        return json.loads(json.dumps(value))

    def work(source, inputs):
        packed = through_json(sandbox.pack(inputs))
        try:
            reply = sandbox.pack(sandbox.work(module, source, sandbox.unpack(packed)))
        except NotImplementedError as error:
            raise Wrong(f"not written yet {error}") from None
        except Exception as error:
            raise Wrong(f"{type(error).__name__}: {error}") from None
        return sandbox.unpack(through_json(reply))

    return grade.Student(work)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- Stubs, solutions, wrong answers -------------------------------------------------------------


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
    message = str(error.value)
    stub = path.read_text("utf-8").split(f"# Exercise {number}:")[1].split("\n# Exercise")[0]
    to_be_written = f'NotImplementedError("Exercise {number}")' in stub
    assert to_be_written == (exercise.kind != "bug")
    if exercise.kind != "bug":
        assert message == f"not written yet Exercise {number}"
        assert "Error: " not in message


@pytest.mark.parametrize("number", EXERCISES)
def test_a_solution_passes(number):
    exercise = EXERCISES[number]
    exercise.check(here(sandbox.load(TUTORIAL / "solutions" / exercise.file)))


def mistakes_in(exercise):
    """The names of the wrong answers to an exercise."""
    target = exercise.function.replace(".", "_")
    return [name for _, name, _ in MISTAKES if name.split("__")[0] == target]


@pytest.mark.parametrize("file, name, message", MISTAKES, ids=[name for _, name, _ in MISTAKES])
def test_a_wrong_answer_is_told_what_is_wrong(file, name, message):
    exercise, = [e for e in EXERCISES.values() if name in mistakes_in(e)]
    # the file of solutions, with this answer in the place of the right one
    module = sandbox.load(TUTORIAL / "solutions" / file)
    exec(WRONG[file], vars(module))
    class_name, _, function = exercise.function.rpartition(".")
    owner = getattr(module, class_name) if class_name else module
    setattr(owner, function, getattr(module, name))
    with pytest.raises(Wrong) as error:
        exercise.check(here(module))
    assert message in str(error.value)


def test_each_exercise_has_three_wrong_answers_and_three_hints():
    for exercise in EXERCISES.values():
        names = mistakes_in(exercise)
        assert len(names) >= 3, f"{exercise.number} {exercise.function}: {names}"
        assert len(exercise.hints) == 3 and all(len(hint) > 10 for hint in exercise.hints)
    assert len(EXERCISES) == len(re.findall(r"^## ", (TUTORIAL / "hints.md").read_text("utf-8"), re.M))


def test_the_lecturers_table_adds_up():
    text = (TUTORIAL / "LECTURER.md").read_text("utf-8")
    for chapter in range(2, 13):
        some = [e for e in EXERCISES.values() if e.chapter == str(chapter)]
        points = sum(e.difficulty for e in some)
        minutes = sum(e.minutes for e in some)
        row = rf"^\| {chapter} .* \| {len(some)} \| {points} \| {minutes} \|$"
        assert re.search(row, text, re.M), (chapter, len(some), points, minutes)
    points = sum(e.difficulty for e in EXERCISES.values())
    hours = sum(e.minutes for e in EXERCISES.values()) // 60
    written = len(re.findall("^## W", (TUTORIAL / "exercises/written.md").read_text("utf-8"), re.M))
    graded = f"\n{len(EXERCISES)} exercises are graded by a program ({points} points, about {hours} hours)"
    assert graded in text
    assert f"{written} are written ({4 * written} points)" in text
    for number in re.findall(r"\d+\.\d+", text):
        assert number in EXERCISES, number


# ---- What students write -------------------------------------------------------------------------

FREE = """
def word_to_bytes(word):
    {}


def merge(tokens, pair):
    return ["ab", "ab", "c</w>"]
"""
WORD_TO_BYTES = EXERCISES["2.1"]
MERGE = EXERCISES["2.3"]
NONSENSE_EVERYWHERE = r"""
    import os
    for fd in range(3, 20):
        try: os.write(fd, b'nonsense\n')
        except OSError: pass
"""
BODIES = [
    ("while True: pass", "an endless loop?"),
    ("import time; time.sleep(60)", "an endless loop?"),
    ("raise SystemExit", "SystemExit"),
    ("import os; os._exit(0)", "has ended"),
    ("quit()", "SystemExit"),
    ("import ctypes; ctypes.string_at(0)", "has ended"),
    ("word_to_bytes(word)", "RecursionError"),
    ("x = bytearray(10 ** 11)", "MemoryError"),
    ("print('x' * 10 ** 6); return word", "got 'hi'"),
    ("input()", "EOFError"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("1 / 0", "by zero (line 3)"),
    ("import os; os.write(1, b'{}'); os.close(2); return 0", "expected"),
    ("return object()", "which can't be graded"),
    ("import grade", "ModuleNotFoundError"),
    ("import compare", "ModuleNotFoundError"),
    (NONSENSE_EVERYWHERE.strip(), "could not be read"),
    ("import os; os.kill(os.getppid(), 9)", "expected"),
    ("import os; os.kill(0, 9)", "could not be read"),
    ("import os; os.fork() or [None for _ in iter(int, 1)]", "expected"),
]


@pytest.fixture(scope="module")
def grader():
    grader = grade.Sandbox()
    yield grader
    grader.kill()


@pytest.mark.parametrize("body, message", BODIES, ids=lambda x: str(x)[:24])
def test_the_grader_outlives_what_students_write(body, message, grader, tmp_path):
    """... and grades the next exercise as if nothing had been."""
    (tmp_path / "ch02_tokens.py").write_text(FREE.format(body))
    grader.seconds = 1 if "endless" in message else 30
    row = grader.grade(WORD_TO_BYTES, tmp_path)
    assert row["points"] == 0 and message in row["message"] and row["message"], row
    assert "a token was used twice" not in row["message"]
    grader.seconds = 30
    row = grader.grade(MERGE, tmp_path)
    assert row["message"].startswith('merge(["a", "a", "a"]'), row


def test_what_cannot_even_be_loaded(grader, tmp_path):
    assert "there is no ch02_tokens.py" in grader.grade(WORD_TO_BYTES, tmp_path)["message"]
    sources = {
        "def word_to_bytes(:": "SyntaxError",
        "import nowhere": "ModuleNotFoundError",
        "x = 1": "AttributeError",
        "raise SystemExit": "SystemExit",
    }
    for source, message in sources.items():
        (tmp_path / "ch02_tokens.py").write_text(source)
        assert message in grader.grade(WORD_TO_BYTES, tmp_path)["message"]


def test_a_constant_form_that_no_check_expects(tmp_path):
    """Whatever simple value a function returns, no exercise breaks, and none is passed."""
    functions = [e for e in EXERCISES.values() if "." not in e.function]
    for value in ("None", "0", "1.0", "True", "'a'", "[]", "(1, 2)", "[[1], 'a']", "{}", "torch.zeros(2, 3)",
                  "np.eye(4)"):
        lines = ["import torch", "import numpy as np"]
        for exercise in functions:
            lines.append(f"def {exercise.function}(*arguments): return {value}")
        (tmp_path / "all.py").write_text("\n".join(lines))
        module = sandbox.load(tmp_path / "all.py")
        for exercise in functions:
            with pytest.raises(Exception):
                exercise.check(here(module))


# ---- Comparing, packing, the command line --------------------------------------------------------


def test_what_is_packed_comes_back():
    values = [1, 2.5, float("inf"), "é", None, True, b"\0\xff", (1, (2,)), {("a", 1): [2]}]
    tensors = [torch.tensor([True]), torch.ones(2, 3), torch.tensor(2)]
    text = json.dumps(sandbox.pack([*values, *tensors]))
    again = sandbox.unpack(json.loads(text))
    assert again[:9] == values
    assert all(map(torch.equal, again[9:], tensors))
    assert [x.dtype for x in again[9:]] == [torch.bool, torch.float32, torch.int64]
    with pytest.raises(TypeError, match="function"):
        sandbox.pack(lambda: 0)


def test_equal_compares_shapes_before_values():
    assert equal(torch.ones(2), [1, 1])
    assert not equal(torch.ones(2, 1), [1, 1])
    assert not equal("1", 1)
    assert not equal(None, 0)
    assert equal(1000.001, 1000.0)
    assert not equal(1.1e-3, 1e-3)
    assert equal(float("inf"), float("inf"))


def test_close_says_what_differs():
    known = {"twice": [2.0, 2.0], "never": [1.0, 2.0]}
    messages = [
        (torch.ones(3), "the shape is"),
        ([1.0, float("nan")], "infinite or undefined"),
        ("a", "expected numbers"),
        ([2.0, 2.0], "twice"),
        ([1.0, 3.0], "expected [1.0, 2.0], got"),
    ]
    for got, message in messages:
        with pytest.raises(Wrong) as error:
            close(got, [1.0, 2.0], known)
        assert message in str(error.value)
    close([1.0, 2.0], (1, 2), known)


def test_scoreboard_json_and_hints(tmp_path, capsys):
    solutions = str(TUTORIAL / "solutions")
    assert grade.main(["2.1", "6.5", "--folder", solutions, "--json", str(tmp_path / "x.json")]) == 0
    out = capsys.readouterr().out
    assert "+ 2.1   word_to_bytes" in out
    assert "chapter 6: 3 of 3 points" in out
    assert out.endswith("all: 4 of 4 points\n")
    assert [row["points"] for row in json.loads((tmp_path / "x.json").read_text())] == [1, 3]
    assert grade.main(["2.1", "--hint", "2"]) == 0
    assert "BYTES" in capsys.readouterr().out
    assert grade.main(["99"]) == 2
    assert "no exercise or chapter 99" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["train", "grade"])
def test_ctrl_c_ends_grading_with_a_line(monkeypatch, capsys, what):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, what, interrupt)
    options = ["--train"] if what == "train" else ["2.1"]
    assert grade.main(options) == 130
    assert capsys.readouterr().err == "\ngrade.py: stopped\n"


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


def test_files_are_found_wherever_they_lie(tmp_path, capsys):
    """The one nearest the top; what is passed over is said, and the table names the chapters that are missing."""
    robustness = (TUTORIAL / "solutions/ch11_robustness.py").read_text("utf-8")
    folders = {
        "eda/week 2/ch11_robustness.py": robustness,
        "eda/a/b/ch11_robustness.py": "raise SystemExit",
        "eda/.history/ch02_tokens.py": "raise SystemExit",
        "eda/.git/ch11_robustness.py": "raise SystemExit",
        "eda/__MACOSX/ch11_robustness.py": "raise SystemExit",
        "eda/Backup of May/ch02_tokens.py": "raise SystemExit",
        "eda/other/ch02_tokens.py": FREE.format("return ['x</w>']"),
        "__MACOSX/eda/ch11_robustness.py": "raise SystemExit",
    }
    for name, text in folders.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, "utf-8")
    assert grade.main(["2.1", "3.1", "11.1", "--all", str(tmp_path)]) == 0
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        row, = csv.DictReader(file)
    assert row["student"] == "eda" and row["chapters not handed in"] == "3"
    assert (row["2.1"], row["3.1"], row["11.1"]) == ("0.0", "0.0", "3.0")
    feedback = (tmp_path / "eda/feedback.txt").read_text("utf-8")
    notes = [line.removeprefix("passed over: ") for line in feedback.splitlines() if line.startswith("passed over")]
    assert notes == [
        ".git/ch11_robustness.py", ".history/ch02_tokens.py", "Backup of May/ch02_tokens.py",
        "__MACOSX/ch11_robustness.py",
        "a/b/ch11_robustness.py; another ch11_robustness.py is as near the top, or nearer",
    ]
    assert "there is no ch03_text.py" in feedback
    printed = capsys.readouterr().out
    assert "1 of 2: __MACOSX is passed over\n" in printed
    assert "\n    passed over: .git/ch11_robustness.py\n" in printed


def test_a_table_of_someone_else_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "grades.csv").write_text("name,email\n")
    assert grade.main(["11", "--all", str(tmp_path)]) == 2
    assert "grades.csv: exists and was not written by this program" in capsys.readouterr().err
    assert (tmp_path / "grades.csv").read_text() == "name,email\n"
    (tmp_path / "grades.csv").unlink()
    assert grade.main(["11", "--all", str(tmp_path)]) == grade.main(["11", "--all", str(tmp_path)]) == 0


def test_an_import_that_does_not_end_costs_its_seconds_once(tmp_path):
    """The second exercise of the file is told the same at once; an endless function is not taken for it."""
    (tmp_path / "ch02_tokens.py").write_text("while True: pass\n")
    sandbox = grade.Sandbox(seconds=1)
    rows = [sandbox.grade(exercise, tmp_path) for exercise in (WORD_TO_BYTES, MERGE)]
    message = "the import of ch02_tokens.py has not ended after 1 seconds: an endless loop outside its functions?"
    assert [row["message"] for row in rows] == [message, message]
    assert rows[0]["seconds"] >= 1 and rows[1]["seconds"] < 0.5
    assert sandbox.process is None and not sandbox.busy
    sandbox.kill()


@pytest.mark.parametrize("encoding", [
    "ascii",
    pytest.param("cp1252", marks=pytest.mark.slow),
    pytest.param("cp932", marks=pytest.mark.slow),
])
def test_names_that_the_console_cannot_show_end_nothing(tmp_path, monkeypatch, encoding):
    """Of students and in what their code says; a name may even be no text."""
    names = ["Nguy\u1ec5n", "\u0141\u00f3d\u017a", os.fsdecode(b"J\xf6rg")]
    for name in names:
        (tmp_path / name).mkdir()
    source = FREE.format("raise ValueError('\\ud800 \u1ec5')")
    (tmp_path / names[0] / "ch02_tokens.py").write_text(source, "utf-8")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
    assert grade.main(["2.1", "--all", str(tmp_path)]) == 0
    sys.stdout.flush()
    lines = printed.getvalue().splitlines()
    assert len(lines) == 3 and b"3 of 3: " in lines[2]
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        assert {row["student"] for row in csv.DictReader(file)} == {*names[:2], "J?rg"}
    assert "ValueError: ? \u1ec5 (line 3)" in (tmp_path / names[0] / "feedback.txt").read_text("utf-8")


@pytest.mark.parametrize("option", ["all", "folder", "json"])
def test_a_folder_without_a_name_is_not_graded(option, capsys):
    """It comes from an unset variable: the tutorial's own files or this folder are not what was meant."""
    with pytest.raises(SystemExit) as exit:
        grade.main(["2.1", f"--{option}", ""])
    assert exit.value.code == 2 and f'--{option} "" names nothing' in capsys.readouterr().err


def test_pytest_grades_the_exercises_only_when_asked_to():
    ignore = sandbox.load(TUTORIAL / "exercises/conftest.py").pytest_ignore_collect
    cases = [
        (["tutorial/exercises"], TUTORIAL.parent, None),
        (["."], TUTORIAL / "exercises", None),
        (["test_grades.py::test_exercise[2.1]"], TUTORIAL / "exercises", None),
        ([str(TUTORIAL.parent)], TUTORIAL.parent, True),
        (["tests"], TUTORIAL.parent, True),
    ]
    for args, folder, expected in cases:
        config = SimpleNamespace(args=args, invocation_params=SimpleNamespace(dir=folder))
        assert ignore(TUTORIAL / "exercises/test_grades.py", config) is expected, args


@pytest.mark.slow
def test_pytest_grades_and_stubs_are_stubs():
    def run_pytest(*arguments):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=TUTORIAL.parent).stdout

    shown = run_pytest(TUTORIAL / "exercises")
    assert f"{len(EXERCISES)} failed" in shown and "2.1 word_to_bytes: not written yet" in shown
    assert "test_exercise[" not in run_pytest("--collect-only", "tutorial")


# ---- A CLIP of one's own functions ---------------------------------------------------------------


@pytest.fixture
def own_clip():
    """own_clip.py, and all that it replaces put back afterwards."""
    import own_clip
    owners = [own_clip.clip_minimal, own_clip.train_tiny, own_clip.zeroshot]
    owners += [value for value in vars(own_clip.clip_minimal).values() if isinstance(value, type)]
    before = [dict(vars(owner)) for owner in owners]
    yield own_clip
    for owner, names in zip(owners, before):
        for name, value in names.items():
            if vars(owner)[name] is not value:
                setattr(owner, name, value)


def measure(own_clip, step_function):
    """-> tensors, and other values, that depend on all pieces of CLIP."""
    clip = own_clip.clip_minimal
    tiny = own_clip.train_tiny
    shot = own_clip.zeroshot
    data = tiny.World(0)
    tokenizer = clip.Tokenizer.train(data.texts()[:800], 640)
    vocab_size = len(tokenizer.vocab)
    tensors = []
    for config in (clip.CLIPConfig(16, 48, (1, 1, 1, 1), 4, None, 64, 1, 48, vocab_size),
                   clip.CLIPConfig(16, 48, 2, 64, 16, 64, 1, 48, vocab_size)):
        torch.manual_seed(0)
        model = clip.CLIP(config)
        with torch.no_grad():
            model.logit_scale.fill_(9.0)  # above the clamp
        history = tiny.train(data, model, tokenizer, 2, 8, every=1, muon=False, step_function=step_function)
        tensors.append(torch.tensor([row["loss"] for row in history]))
        tensors.append(torch.tensor(list(history[-1]["accuracy"].values())))
        tensors.append(model.logit_scale.data)
        tensors.append(shot.zero_shot_classifier(model, tokenizer, ["a sun", "a cat"], ["{}", "two {}"]))
        tensors.append(shot.encode_penultimate(model, data.examples(2)[0]))
        # the weight decay of each parameter
        decay = {}
        for group in tiny.make_optimizer(model, 1, 0.1, 0.2, muon=False).param_groups:
            for parameter in group["params"]:
                decay[id(parameter)] = group["weight_decay"], group["factor"]
        tensors.append(torch.tensor([decay[id(parameter)] for parameter in model.parameters()]))
    eye = torch.eye(5)
    found = shot.retrieval(eye, eye.roll(1, 0) + 0.6 * eye[:1], eye.bool(), [1])
    tensors.append(torch.tensor(list(found.values())))
    ids = tokenizer.encode("a red naïve sun")
    return tensors, [tokenizer.merges, ids, tokenizer.decode(ids)]


@pytest.mark.slow
def test_own_functions_make_the_same_clip(own_clip):
    """With the solutions in place of the repository's functions all is as it was, and each is used."""
    expected_tensors, expected_values = measure(own_clip, own_clip.train_tiny.training_step)
    chapters = {}
    for path in (TUTORIAL / "solutions").glob("ch*.py"):
        chapters[int(path.stem[2:4])] = sandbox.load(path)
    used = set()

    def watched(number, function):
        """The function, which notes that it was called."""
        def function_of_exercise(*arguments):
            used.add(number)
            return function(*arguments)

        return function_of_exercise

    for number in own_clip.USED:
        exercise = EXERCISES[number]
        class_name, _, name = exercise.function.rpartition(".")
        owner = chapters[int(exercise.chapter)]
        if class_name:
            owner = getattr(owner, class_name)
        setattr(owner, name, watched(number, getattr(owner, name)))
    step_function = own_clip.adopt(chapters, own_clip.PIECES)
    tensors, values = measure(own_clip, step_function)
    assert values == expected_values and used == own_clip.USED
    for x, y in zip(tensors, expected_tensors):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_training_tells_what_is_missing(own_clip, capfd):
    assert grade.main(["--train", "--minutes", "0.05"]) == 0
    out = capfd.readouterr().out
    assert "contrastive loss           from the repository; missing: 6.2" in out
    assert "0 of 15 pieces are yours" in out
