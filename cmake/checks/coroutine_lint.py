#!/usr/bin/env python3
"""Finds what g++ 12 compiles wrongly: a capturing lambda or an aggregate temporary inside an expression
with co_await, and a co_await inside of ?: (docs/adr/0003-g++12-coroutine-rule.md). Uses clang-query on every file that has a co_await.

    coroutine_lint.py [FILE...]    check all sources, or the given ones; exits 1 if something was found
    coroutine_lint.py --self-test  prove that it can fail
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
QUERY = "clang-query-19"
FLAGS = ["-std=c++20", "-w", "-pthread",
         "-DBOOST_ASIO_SEPARATE_COMPILATION", "-DBOOST_BEAST_SEPARATE_COMPILATION",
         '-DLLMPROXY_SOURCE_DIR="."', '-DLLMPROXY_BINARY_DIR="."',
         f"-I{ROOT}/include", f"-I{ROOT}/src", f"-I{ROOT}/tests"]
MATCHER = (
    "match coawaitExpr(isExpansionInMainFile(), hasDescendant(cxxBindTemporaryExpr(unless(has(expr(anyOf("
    "cxxConstructExpr(), callExpr(), coawaitExpr(), implicitCastExpr()))))).bind(\"trap\")))")
CONDITIONAL = (
    "match conditionalOperator(isExpansionInMainFile(), hasType(hasUnqualifiedDesugaredType(recordType())), "
    "hasDescendant(coawaitExpr())).bind(\"trap\")")
COMMANDS = ["set traversal AsIs", "set output diag", "set bind-root false", MATCHER, CONDITIONAL]

BAD = """
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
struct Request { std::shared_ptr<int> body; int size; };
boost::asio::awaitable<int> send(Request);
boost::asio::awaitable<int> with(std::function<int()>);
boost::asio::awaitable<int> aggregate(std::shared_ptr<int> p) { co_return co_await send(Request{p, 1}); }
boost::asio::awaitable<int> closure(std::shared_ptr<int> p) { co_return co_await with([p] { return *p; }); }
boost::asio::awaitable<std::shared_ptr<int>> load();
boost::asio::awaitable<int> operand(std::shared_ptr<int> p)
{
    auto loaded = p ? std::move(p) : co_await load();
    co_return *loaded;
}
boost::asio::awaitable<int> condition(std::shared_ptr<int> p)
{
    auto chosen = co_await load() ? p : nullptr;
    co_return *chosen;
}
"""
GOOD = """
#include <boost/asio/awaitable.hpp>
#include <memory>
struct Request { std::shared_ptr<int> body; int size; };
boost::asio::awaitable<int> send(Request);
boost::asio::awaitable<int> named(std::shared_ptr<int> p)
{
    Request request{p, 1};
    co_return co_await send(std::move(request));
}
boost::asio::awaitable<std::shared_ptr<int>> load();
boost::asio::awaitable<int> trivial(std::shared_ptr<int> p)
{
    Request request{p, 1};
    const int sent = p ? 0 : co_await send(std::move(request));
    co_return sent;
}
"""


def traps(path):
    """(findings, trouble): the lines where the trap is, and why the file could not be read, if so."""
    arguments = [QUERY]
    for command in COMMANDS:
        arguments += ["-c", command]
    generated = version_header_folder()
    done = subprocess.run([*arguments, str(path), "--", *FLAGS, f"-I{path.parent}", f"-I{generated.name}"],
                          capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if '"trap" binds here' in line]
    findings = list(dict.fromkeys(found))  # an awaited expression appears more than once in the tree
    errors = [line for line in (done.stderr + done.stdout).splitlines() if re.search(r"\berror:", line)]
    if done.returncode or errors:
        return findings, "\n".join(errors[:5]) or done.stderr
    return findings, ""


def version_header_folder():
    """A stand-in for the generated version header, so that no build tree is needed."""
    folder = tempfile.TemporaryDirectory()
    header = pathlib.Path(folder.name) / "llmproxy" / "version.hpp"
    header.parent.mkdir()
    header.write_text((ROOT / "cmake" / "version.hpp.in").read_text())
    return folder


def check(paths):
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, (findings, trouble) in zip(paths, pool.map(traps, paths)):
            for line in findings:
                print(f"{line}  <- name this before the co_await, or write an if for a ?: with one")
            if trouble:
                print(f"{path}: could not be checked\n{trouble}")
            bad += bool(findings) or bool(trouble)
    return bad


def cxx_sources():
    for top in ("src", "tests"):
        for path in sorted((ROOT / top).rglob("*.cpp")):
            if "node_modules" not in path.parts:
                yield path


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        bad, good = pathlib.Path(folder) / "bad.cpp", pathlib.Path(folder) / "good.cpp"
        broken = pathlib.Path(folder) / "broken.cpp"
        bad.write_text(BAD)
        good.write_text(GOOD)
        broken.write_text("this is not C++ co_await\n")
        findings, trouble = traps(bad)
        if len(findings) != 4 or trouble:
            return f"four traps expected, found: {findings} {trouble}"
        if traps(good) != ([], ""):
            return f"a named temporary was refused: {traps(good)}"
        if not traps(broken)[1]:
            return "a file that cannot be parsed was accepted"
    return ""


def main():
    if "--self-test" in sys.argv:
        failure = self_test()
        print(failure or "coroutine lint self-test: ok")
        return 1 if failure else 0
    paths = [pathlib.Path(name).resolve() for name in sys.argv[1:]] or [
        path for path in cxx_sources() if "co_await" in path.read_text()]
    bad = check(paths)
    print(f"coroutine lint: {len(paths)} files checked, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
