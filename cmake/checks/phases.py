#!/usr/bin/env python3
"""Compares docs/life-of-a-request.md with the sources: each line of its list under "In the code" is
`Function: callee, callee, ...`, and the function must call these in this order.

    phases.py              check the tree; prints what differs and exits 1
    phases.py --self-test  prove that it can fail
"""
import pathlib
import re
import sys
import tempfile

DOCUMENT = "docs/life-of-a-request.md"
MODULES = ("src/edge", "src/pipeline")
LINE = re.compile(r"^    ([\w:]+): +(\w+(?:, \w+)*)$")


def listed(text):
    """[(function, [callee])] of the document."""
    section = text.partition("\n## In the code\n")[2].partition("\n## ")[0]
    return [(found[1], found[2].split(", ")) for found in map(LINE.match, section.splitlines()) if found]


def body_of(function, sources):
    """The text between the braces of a function's definition, which begins at the start of a line or in a class."""
    head = re.compile(r"^[ ]*(?:[\w:<>]+ )+" + re.escape(function) + r"\([^;{}]*\)[^;{}]*\n[ ]*\{\n", re.M)
    for text in sources:
        found = head.search(text)
        if not found:
            continue
        indent = re.search(r"([ ]*)\{\n$", found[0])[1]
        return text[found.end():text.index(f"\n{indent}}}\n", found.end() - 1)]
    return None


def check(root):
    document = root / DOCUMENT
    functions = listed(document.read_text())
    if not functions:
        return [f"{DOCUMENT}: no list under 'In the code'"]
    sources = [re.sub(r"//[^\n]*", "", path.read_text())
               for module in MODULES for path in sorted((root / module).glob("*.cpp"))]
    problems = []
    for function, callees in functions:
        # A member that is defined inside its class stands there without the class's name.
        body = body_of(function, sources) or body_of(function.rpartition("::")[2], sources)
        if body is None:
            problems.append(f"{DOCUMENT}: {function} is not defined in {' or '.join(MODULES)}")
            continue
        at = 0
        for callee in callees:
            found = re.compile(rf"\b{callee}\(").search(body, at)
            if not found:
                problems.append(f"{DOCUMENT}: {function} does not call {callee}, or not in this order")
                break
            at = found.end()
    return problems


def self_test():
    source = "namespace {\n\nvoid Gate::pass(int a)\n{\n    open(a);\n    // close();\n    walk();\n}\n\n}\n"
    cases = {"Gate::pass: open, walk": 0, "Gate::pass: walk, open": 1, "Gate::pass: open, close": 1,
             "Gate::shut: open": 1, "nothing": 1}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "docs").mkdir()
        for module in MODULES:
            (root / module).mkdir(parents=True)
        (root / MODULES[1] / "gate.cpp").write_text(source)
        for line, wanted in cases.items():
            (root / DOCUMENT).write_text(f"# T\n\n## In the code\n\n    {line}\n\n## More\n")
            found = check(root)
            if len(found) != wanted:
                return f"'{line}': {wanted} problems expected, found {found}"
    return ""


def main():
    if "--self-test" in sys.argv:
        problem = self_test()
        print(problem or "phases self-test: ok")
        return 1 if problem else 0
    problems = check(pathlib.Path(__file__).resolve().parent.parent.parent)
    print("\n".join(problems) or "phases: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
