"""Cut tutorial/exercises out of tutorial/solutions, and list the exercises in the chapters.

Run it after any change there or in hints.md. In a solution, what stands between `# solution` and
`# end` is replaced by a NotImplementedError, or by the lines behind `# given`, uncommented: code with
a mistake to be found. `# Exercise 3.2` above a function gets kind, difficulty and time from hints.md.
"""
import json
import re

from grade import HERE, read_exercises

BODY = re.compile(r"^( *)# solution\n.*?(?:^ *# given\n(.*?))?^ *# end\n", re.S | re.M)
SECRET = re.compile(r"<!-- solution -->\n.*?<!-- end -->\n", re.S)


def make():
    """-> {path below tutorial/exercises: text}, for all masters."""
    exercises = read_exercises()
    made = {}
    for path in (HERE / "solutions").glob("ch*.py"):
        made[path.name] = stubs(path.read_text("utf-8"), exercises)
    written = (HERE / "solutions/written.md").read_text("utf-8")
    made["written.md"] = SECRET.sub("", written)
    return made


def stubs(source, exercises):
    """The text of a master -> what students get."""
    parts = re.split(r"(?m)^# Exercise (\d+\.\d+)\n", source)  # what is before the first; number, code; ...
    text = parts[0]
    for number, code in zip(parts[1::2], parts[2::2]):
        text += heading(exercises[number]) + stub(code, number)
    return text


def heading(exercise):
    """What stands above a function."""
    return (f"# Exercise {exercise.number}: {exercise.kind}, difficulty {exercise.difficulty} of 5,"
            f" about {exercise.minutes} minutes\n"
            f"# hints: python tutorial/grade.py {exercise.number} --hint 1, then 2, 3\n")


def stub(code, number):
    """A function with its solution -> the same without it."""
    def without_solution(match):
        indent, given = match.groups()
        if given:
            return re.sub(r"(?m)^( *)# ?", r"\1", given)
        return f'{indent}raise NotImplementedError("Exercise {number}")\n'

    return BODY.sub(without_solution, code)


# ---- The chapters --------------------------------------------------------------------------------


def chapters():
    """-> {path: its JSON} of the notebooks from chapter 2 on, their exercises as hints.md has them."""
    exercises = read_exercises()
    made = {}
    for path in sorted(HERE.glob("[01]*.ipynb")):
        chapter = int(path.name[:2])
        if chapter == 1:
            continue  # it has no exercises
        notebook = json.loads(path.read_text("utf-8"))
        cell, = [cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("## Exercises")]
        cell["source"] = listed(chapter, exercises).splitlines(keepends=True)
        made[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return made


def listed(chapter, exercises):
    """-> the Markdown that ends a chapter: its exercises, each with hints that unfold one after the other."""
    chosen = [exercise for exercise in exercises.values() if exercise.chapter == str(chapter)]
    parts = [
        "## Exercises\n\n"
        f"In `exercises/{chosen[0].file}`: write your code in the place of `raise NotImplementedError(...)`,"
        " or repair what stands there, and save. In a terminal in the repository's root"
        f" `python tutorial/grade.py {chapter}` grades all of them and says what is wrong; a `+` is full"
        " marks. Written ones are in `exercises/written.md`.\n"]
    for exercise in chosen:
        text = (f"**{exercise.number} `{exercise.function}`** ({exercise.kind},"
                f" difficulty {exercise.difficulty}, {exercise.minutes} minutes)\n\n")
        for i, hint in enumerate(exercise.hints, 1):
            text += f"<details><summary>Hint {i}</summary>\n\n{hint}\n\n"
        parts.append(text + len(exercise.hints) * "</details>" + "\n")
    return "\n".join(parts).rstrip()


if __name__ == "__main__":
    for path, text in chapters().items():
        path.write_text(text, "utf-8")
    for name, text in make().items():
        (HERE / "exercises" / name).write_text(text, "utf-8")
        print(f"tutorial/exercises/{name}")
