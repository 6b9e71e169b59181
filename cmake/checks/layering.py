#!/usr/bin/env python3
"""Checks who includes whom against the module table, and each module's DEPS against its includes.

    layering.py              check the tree; prints `file:line: message` and exits 1 on a violation
    layering.py --self-test  prove that it can fail
"""
import pathlib
import re
import sys
import tempfile

# module -> modules it may include. `telemetry` is open to all but those in NO_TELEMETRY.
ALLOWED = {
    "core": set(),
    "policy": {"core"},
    "telemetry": {"core"},
    "storage": {"core"},
    "net": {"core"},
    "accounts": {"core", "policy", "storage"},
    "http": {"core", "net"},
    "auth": {"core", "accounts"},
    "openai": {"core", "http"},
    "cli": {"core", "net", "http"},
    "otlp": {"core", "net", "http"},
    "upstream": {"core", "policy", "net", "http"},
    "pipeline": {"core", "policy", "net", "http", "openai", "accounts", "auth", "upstream"},
    "edge": {"core", "net", "http"},
    "handlers": {"core", "policy", "storage", "net", "http", "openai", "accounts", "auth", "upstream",
                 "pipeline", "edge"},
    "config": {"core"},
}
ALLOWED["app"] = set(ALLOWED) | {"app"}
NO_TELEMETRY = {"core", "policy"}

# Exceptions, each with its reason.
EXTRA = {
    # `check` and `config reference` are sub-commands that run the loader.
    "cli": {"config"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*["<]llmproxy/([a-z_]+)/([a-z_0-9/]+\.hpp)[">]')
# A private header of another module, reached through src/.
PRIVATE = re.compile(r'^\s*#\s*include\s*"([a-z_]+)/([a-z_0-9/]+\.hpp)"')
DEPS = re.compile(r"\bDEPS\b([^)]*?)(?:\bLIBS\b|\bSOURCES\b|\bNAME\b|\bPCH\b|\))", re.S)


def may_include(module, other, header):
    if other == module:
        return True
    if other == "app":
        return False
    if module == "app":
        return True
    if other == "telemetry" and module not in NO_TELEMETRY:
        return True
    if module == "config" and header == "settings.hpp":
        return True
    return other in ALLOWED[module] or other in EXTRA.get(module, ())


def module_files(root, module):
    for top in ("include/llmproxy", "src"):
        folder = root / top / module
        for suffix in ("*.hpp", "*.cpp"):
            yield from sorted(folder.rglob(suffix))


def declared_deps(text):
    text = re.sub(r"#[^\n]*", "", text)
    found = DEPS.search(text[text.find("llmproxy_module"):])
    return set(found.group(1).split()) if found else set()


def check(root):
    problems = []
    modules = {p.name for top in ("include/llmproxy", "src") if (root / top).is_dir()
               for p in (root / top).iterdir() if p.is_dir()}
    for unknown in sorted(modules - set(ALLOWED)):
        problems.append(f"src/{unknown}: not a module of the table")
    for module in sorted(modules & set(ALLOWED)):
        used = {}
        for path in module_files(root, module):
            name = path.relative_to(root)
            for number, line in enumerate(path.read_text().splitlines(), 1):
                private = PRIVATE.match(line)
                if private and private.group(1) != module and private.group(1) in ALLOWED:
                    problems.append(f"{name}:{number}: private header of {private.group(1)}")
                match = INCLUDE.match(line)
                if not match:
                    continue
                other, header = match.groups()
                if other not in ALLOWED:
                    problems.append(f"{name}:{number}: no such module: {other}")
                elif not may_include(module, other, header):
                    problems.append(f"{name}:{number}: {module} may not include {other}")
                elif other != module:
                    # settings.hpp is a plain struct: it needs no library, unless it is all there is.
                    if not (module == "config" and header == "settings.hpp"):
                        used.setdefault(other, f"{name}:{number}")
        lists = root / "src" / module / "CMakeLists.txt"
        if not lists.exists():
            continue
        deps = declared_deps(lists.read_text())
        name = lists.relative_to(root)
        for dep in sorted(deps):
            if dep not in ALLOWED or not may_include(module, dep, "settings.hpp"):
                problems.append(f"{name}:1: DEPS names {dep}, which {module} may not use")
        reachable = closure(root, deps)
        for other, where in sorted(used.items()):
            if other not in reachable:
                problems.append(f"{name}:1: DEPS lacks {other} (used at {where})")
    return problems


def closure(root, deps):
    """DEPS are PUBLIC, so what a dependency depends on is linked too."""
    seen, todo = set(), list(deps)
    while todo:
        dep = todo.pop()
        if dep in seen:
            continue
        seen.add(dep)
        lists = root / "src" / dep / "CMakeLists.txt"
        if lists.exists():
            todo.extend(declared_deps(lists.read_text()))
    return seen


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)

        def put(path, text):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)

        put("include/llmproxy/core/a.hpp", "#pragma once\n")
        put("src/net/a.cpp", '#include "llmproxy/core/a.hpp"\n#include "llmproxy/telemetry/log.hpp"\n')
        put("src/net/CMakeLists.txt", "llmproxy_module(NAME net SOURCES a.cpp DEPS core telemetry)\n")
        put("src/config/a.cpp", '#include "llmproxy/edge/settings.hpp"\n')
        put("src/config/CMakeLists.txt", "llmproxy_module(NAME config SOURCES a.cpp DEPS core)\n")
        if check(root):
            return f"a good tree was refused: {check(root)}"
        bad = {
            "core may not include net": ("src/core/b.cpp", '#include "llmproxy/net/b.hpp"\n'),
            "policy may not include telemetry":
                ("src/policy/b.cpp", '#include "llmproxy/telemetry/b.hpp"\n'),
            "net may not include edge": ("src/net/b.cpp", '\n#include "llmproxy/edge/b.hpp"\n'),
            "config may not include edge": ("src/config/b.cpp", '#include "llmproxy/edge/b.hpp"\n'),
            "cli may not include app": ("src/cli/b.cpp", '#include "llmproxy/app/b.hpp"\n'),
            "private header of net": ("src/http/b.cpp", '#include "net/secret_part.hpp"\n'),
            "not a module of the table": ("src/utils/b.cpp", "\n"),
            "no such module: nett": ("src/net/b.cpp", '#include "llmproxy/nett/b.hpp"\n'),
            "DEPS names edge":
                ("src/http/CMakeLists.txt", "llmproxy_module(NAME http SOURCES b.cpp DEPS net edge)\n"),
            "DEPS lacks core": ("src/policy/CMakeLists.txt", "llmproxy_module(NAME policy SOURCES c.cpp)\n"),
        }
        put("src/policy/c.cpp", '#include "llmproxy/core/a.hpp"\n')
        for expected, (path, text) in bad.items():
            put(path, text)
            problems = check(root)
            (root / path).unlink()
            if (root / path).parent.name == "utils":
                (root / path).parent.rmdir()
            if not any(expected in problem for problem in problems):
                return f"not found: {expected} in {problems}"
    return ""


def main():
    if "--self-test" in sys.argv:
        failure = self_test()
        print(failure or "layering self-test: ok")
        return 1 if failure else 0
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    problems = check(root)
    for problem in problems:
        print(problem)
    if not problems:
        print("layering: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
