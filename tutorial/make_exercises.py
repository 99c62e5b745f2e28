"""Cut tutorial/exercises out of tutorial/solutions, and list them in the chapters: run it after any change there or in
hints.md.

In a solution, what stands between `# solution` and `# end` is replaced by a NotImplementedError, or by the lines
behind `# given`, uncommented: code with a mistake to be found. `# Exercise 3.2` above a function gets kind,
difficulty and time from hints.md.
"""
import json
import re
from pathlib import Path

from grade import HERE, read_exercises

BODY = re.compile(r"^( *)# solution\n.*?(?:^ *# given\n(.*?))?^ *# end\n", re.S | re.M)
SECRET = re.compile(r"<!-- solution -->\n.*?<!-- end -->\n", re.S)


def stubs(source, exercises):
    """The text of a master -> what students get."""
    parts = re.split(r"(?m)^# Exercise (\d+\.\d+)\n", source)  # before the first, number, text, number, text, ...
    for i in range(1, len(parts), 2):
        number, e = parts[i], exercises[parts[i]]

        def body(match):
            given = re.sub(r"(?m)^( *)# ?", r"\1", match[2] or "")
            return given or f'{match[1]}raise NotImplementedError("Exercise {number}")\n'

        parts[i] = (f"# Exercise {number}: {e.kind}, difficulty {e.difficulty} of 5, about {e.minutes} minutes; hints: "
                    f"python tutorial/grade.py {number} --hint 1, then 2, 3\n")
        parts[i + 1] = BODY.sub(body, parts[i + 1])
    return "".join(parts)


def make():
    """-> {path below tutorial/exercises: text}, for all masters."""
    exercises = read_exercises()
    made = {path.name: stubs(path.read_text("utf-8"), exercises) for path in (HERE / "solutions").glob("ch*.py")}
    return made | {"written.md": SECRET.sub("", (HERE / "solutions/written.md").read_text("utf-8"))}


def listed(chapter, exercises):
    """-> the Markdown that ends a chapter: its exercises, the hints of each unfolding one after the other."""
    some = [e for number, e in exercises.items() if number.split(".")[0] == str(chapter)]
    parts = [f"## Exercises\n\nIn `exercises/{some[0].file}`: write your code in the place of `raise "
             "NotImplementedError(...)`, or repair what stands there, and save. In a terminal in the repository's root "
             f"`python tutorial/grade.py {chapter}` grades all of them and says what is wrong; a `+` is full marks. "
             "Written ones are in `exercises/written.md`.\n"]
    for e in some:
        text = f"**{e.number} `{e.function}`** ({e.kind}, difficulty {e.difficulty}, {e.minutes} minutes)\n\n"
        for i, hint in enumerate(e.hints, 1):
            text += f"<details><summary>Hint {i}</summary>\n\n{' '.join(hint.split())}\n\n"
        parts.append(text + len(e.hints) * "</details>" + "\n")
    return "\n".join(parts).rstrip()


def chapters():
    """-> {path: its JSON} of the notebooks from chapter 2 on, their exercises as hints.md has them."""
    exercises, made = read_exercises(), {}
    for path in sorted({*HERE.glob("[01]*.ipynb")} - {*HERE.glob("01*")}):  # the first has no exercises
        notebook = json.loads(path.read_text("utf-8"))
        cell, = (cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("## Exercises"))
        cell["source"] = listed(int(path.name[:2]), exercises).splitlines(keepends=True)
        made[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return made


if __name__ == "__main__":
    for path, text in chapters().items():
        path.write_text(text, "utf-8")
    for name, text in make().items():
        Path(HERE, "exercises", name).write_text(text, "utf-8")
        print(f"tutorial/exercises/{name}")
