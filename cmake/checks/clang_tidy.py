#!/usr/bin/env python3
"""Runs clang-tidy with the set in .clang-tidy, two files at a time.

    clang_tidy.py [FILE...]    check src/ and tests/, or the given files; exits 1 if something was found
    clang_tidy.py --self-test  prove that it can fail
"""
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

import coroutine_lint

ROOT = coroutine_lint.ROOT


def findings(path, generated):
    flags = [*coroutine_lint.FLAGS, f"-I{path.parent}", f"-I{generated}"]
    done = subprocess.run(["clang-tidy-19", "--quiet", f"--config-file={ROOT}/.clang-tidy", str(path), "--", *flags],
                          capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() + done.stderr.strip() if done.returncode else ""


BAD = """
#include <string>
#include <utility>
inline std::size_t twice(std::string a) { std::string b = std::move(a); return a.size() + b.size(); }
"""


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "src" / "bad.cpp"
        source.parent.mkdir()
        source.write_text(BAD)
        if "use-after-move" not in findings(source, folder):
            return "a use after move was accepted"
        source.with_name("private.hpp").write_text(BAD)
        source.write_text('#include "private.hpp"\n')
        return "" if "use-after-move" in findings(source, folder) else "one in a private header was accepted"


def main():
    if "--self-test" in sys.argv:
        failure = self_test()
        print(failure or "clang-tidy self-test: ok")
        return 1 if failure else 0
    paths = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    paths = paths or list(coroutine_lint.cxx_sources())
    # Nothing but includes: there is nothing of ours to find in it.
    paths = [path for path in paths if path != ROOT / "src" / "net" / "asio.cpp"]
    bad = 0
    with coroutine_lint.version_header_folder() as generated:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for path, text in zip(paths, pool.map(lambda p: findings(p, generated), paths)):
                if text:
                    bad += 1
                    print(f"{path.relative_to(ROOT)}:\n{text}")
    print(f"clang-tidy: {len(paths)} files checked, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
