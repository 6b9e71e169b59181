#!/usr/bin/env python3
"""Compiles each header under include/ by itself, two at a time.

    headers.py [FILE...]     check all headers, or the given ones; exits 1 if one does not stand alone
    headers.py --self-test   prove that it can fail
"""
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
         "-pthread",
         "-DBOOST_ASIO_SEPARATE_COMPILATION", "-DBOOST_BEAST_SEPARATE_COMPILATION"]
COMPILER = "g++"


def compiles(header):
    """The compiler's complaint about `header` alone, or an empty string. Included twice, so that guards count."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "alone.cpp"
        source.write_text(f'#include "{header}"\n#include "{header}"\n')
        done = subprocess.run([COMPILER, *FLAGS, f"-I{ROOT}/include", str(source)],
                              capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def check(headers):
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for header, trouble in zip(headers, pool.map(compiles, headers)):
            if trouble:
                failed += 1
                print(f"{header}: does not compile alone\n{trouble}")
    return failed


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        good = pathlib.Path(folder) / "good.hpp"
        good.write_text("#pragma once\n#include <string>\nstruct Good { std::string name; };\n")
        lacking = pathlib.Path(folder) / "lacking.hpp"
        lacking.write_text("#pragma once\nstruct Lacking { std::string name; };\n")
        unguarded = pathlib.Path(folder) / "unguarded.hpp"
        unguarded.write_text("struct Unguarded {};\n")
        if compiles(good):
            return "a good header was refused"
        for bad in (lacking, unguarded):
            if not compiles(bad):
                return f"{bad.name} was accepted"
    return ""


def main():
    if "--self-test" in sys.argv:
        failure = self_test()
        print(failure or "headers self-test: ok")
        return 1 if failure else 0
    headers = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    headers = headers or sorted((ROOT / "include").rglob("*.hpp"))
    failed = check(headers)
    print(f"headers: {len(headers)} checked, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
