#!/usr/bin/env python3
"""A newcomer's way by the command line: project, token, a call, what it cost, revoke. Needs LLMPROXY_BINARY."""

import csv
import io
import json
import os
import sqlite3
import subprocess

from daemon import BINARY, CHAT, GUARD, DaemonTest, main, run, wait_until

TOKEN = "e2e-management-token-0123456789"
KEY = "ab" * 32


class Manage(DaemonTest):
    def setUp(self):
        super().setUp()
        self.store = os.path.join(self.folder, "store.db")
        self.daemon = self.serve_managed()

    def serve_managed(self, key=KEY, old="[]"):
        return self.serve(ops="metrics, health, admin", auth="{ mode: token }", more=(
            f"management: {{ token: {TOKEN} }}\n"
            f"store: {{ path: \"{self.store}\", encryption_key: \"{key}\", old_encryption_keys: {old} }}\n"
            "prices:\n  - { model: \"mock-gpt*\", input: 1000, output: 2000 }\n"))

    def environment(self, token=TOKEN):
        return dict(os.environ, LLM_PROXY_MANAGEMENT_TOKEN=token,
                    LLM_PROXY_MANAGEMENT_URL=f"http://127.0.0.1:{self.daemon.ops}")

    def cli(self, *args, code=0, token=TOKEN, **more):
        done = run(*args, env=self.environment(token), **more)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        return done

    def ask(self, *args):
        return json.loads(self.cli(*args, "--json").stdout)

    def chat(self, token):
        return self.daemon.curl("/v1/chat/completions", "-w", "\n%{http_code}", "-H",
                                "Content-Type: application/json", "-H", f"Authorization: Bearer {token}",
                                "-d", CHAT).stdout.rpartition("\n")

    def test_a_newcomers_way(self):
        wait_until(lambda: "there is no project yet" in self.daemon.diagnostics(), "greeting")
        self.assertIn("llm-proxy project create my-team --url http://127.0.0.1:", self.daemon.diagnostics())

        self.cli("project", "create", "team-a", "--model", "mock-gpt*")
        made = self.ask("token", "create", "--project", "team-a", "ci", "--expires", "2099-01-01")
        secret = made["secret"]
        self.assertTrue(secret.startswith("llmp_"))
        self.cli("project", "budget", "team-a", "--period", "month", "--usd", "100", "--soft", "80,95")
        self.cli("project", "limits", "team-a", "--requests-per-minute", "600")
        self.cli("project", "limits", "team-a", "--requests-per-minute", "60", "--route", "embeddings")

        body, _, status = self.chat(secret)
        self.assertEqual(status, "200", body)
        used = json.loads(body)["usage"]
        cost = (used["prompt_tokens"] * 1000 + used["completion_tokens"] * 2000) / 1e6

        sums = self.ask("usage")
        self.assertEqual(len(sums), 1)
        self.assertEqual(sums[0]["model"], "mock-gpt")
        self.assertEqual(sums[0]["prompt_tokens"], used["prompt_tokens"])
        self.assertAlmostEqual(float(sums[0]["cost_usd"]), cost, places=9)
        table = self.cli("usage").stdout.splitlines()
        self.assertEqual(table[0].split()[:3], ["PROJECT", "MODEL", "ATTEMPTS"])
        self.assertIn("team-a", table[1])
        spent = {one["period"]: one for one in self.ask("project", "spend", "team-a")}
        self.assertAlmostEqual(float(spent["month"]["cost_usd"]), cost, places=9)
        self.assertEqual(spent["total"]["requests"], 1)

        rows = self.ask("usage", "list", "--token", "team-a/ci")
        self.assertEqual(rows[0]["outcome"], "ok")
        exported = list(csv.DictReader(io.StringIO(self.cli("usage", "export").stdout)))
        self.assertEqual(exported[0]["request"], rows[0]["request"])
        lines = self.cli("usage", "export", "--format", "ndjson").stdout.splitlines()
        self.assertEqual(json.loads(lines[0]), rows[0])

        self.cli("token", "revoke", "team-a/ci")
        self.assertEqual(self.chat(secret)[2], "401")
        actions = [one["action"] for one in self.ask("audit")]
        self.assertEqual(actions, ["token.revoke", "project.limits", "project.limits",
                                   "project.budgets", "token.create", "project.create"])
        self.assertEqual(self.daemon.stop(), 0)
        self.assertNotIn(secret, self.daemon.diagnostics() + str(self.daemon.access_lines()))

    def test_subjects_by_name_and_id(self):
        project = self.ask("project", "create", "p q; --")["id"]
        self.assertEqual(self.ask("project", "show", "p q; --")["id"], project)
        self.assertEqual(self.ask("project", "show", project)["name"], "p q; --")
        token = self.ask("token", "create", "--project", project, "t/1")["id"]
        self.assertEqual(self.ask("token", "show", "p q; --/t/1")["id"], token)
        self.assertEqual(self.ask("token", "update", token, "--model", "a", "--model", "b")["models"], ["a", "b"])
        self.assertEqual(self.ask("token", "update", token, "--model", "")["models"], [])
        self.assertEqual(self.ask("project", "update", project, "--disable")["enabled"], False)

        self.cli("token", "limits", token, "--tunnels", "3", "--concurrent", "4")
        self.cli("token", "limits", token, "--tunnels", "none")
        limits = self.ask("token", "limits", token)["limits"]
        self.assertEqual((limits[0]["tunnels"], limits[0]["concurrent_requests"]), (None, 4))
        self.assertEqual(self.ask("token", "limits", token, "--clear")["limits"], [])
        self.ask("token", "budget", token, "--period", "day", "--tokens", "5")
        self.assertEqual(self.ask("token", "budget", token, "--period", "day", "--clear")["budgets"], [])

        self.cli("token", "delete", token)
        self.cli("token", "delete", token)
        self.cli("project", "delete", project)
        self.assertEqual(self.ask("project", "list"), [])

    def test_refusals_have_reasons_and_codes(self):
        self.assertIn("there is no project 'x'", self.cli("project", "show", "x", code=1).stderr)
        self.cli("project", "create", "p")
        self.assertIn("There is one with this name already", self.cli("project", "create", "p", code=1).stderr)
        self.assertIn("Incorrect management token", self.cli("project", "list", code=1, token="wrong").stderr)
        self.assertIn("LLM_PROXY_MANAGEMENT_TOKEN", self.cli("project", "list", code=2, token="").stderr)
        self.assertIn("--url", self.cli("project", "list", "--url", "nonsense", code=2).stderr)
        self.cli("project", code=2)
        self.cli("project", "create", code=2)
        self.cli("project", "budget", "p", "--usd", "5", code=2)
        self.cli("project", "limits", "p", "--tunnels", "many", code=2)
        self.assertIn("'models[0]'", self.cli("project", "update", "p", "--model", "x" * 300, code=1).stderr)
        self.assertIn("there is no token 'p/none'", self.cli("token", "show", "p/none", code=1).stderr)
        self.assertEqual(self.daemon.stop(), 0)
        gone = self.cli("project", "list", code=1)
        self.assertIn("Is the daemon running", gone.stderr)

    def test_requests_and_their_tail(self):
        self.assertEqual(self.ask("requests"), [])
        with subprocess.Popen([BINARY, "requests", "--tail", "--json", "--limit", "1"], env=self.environment(),
                              text=True, stdout=subprocess.PIPE) as tail:
            # The tail shows what finishes after it has begun: ask until one does.
            def shown():
                self.daemon.curl("/v1/chat/completions", "-d", CHAT)
                return tail.poll() is not None
            wait_until(shown, "a request in the tail")
            line = json.loads(tail.stdout.readline())
        self.assertEqual(tail.returncode, 0)
        one = self.ask("requests", "show", line["request_id"])
        self.assertEqual(one, line)
        shown = self.cli("requests", "show", line["request_id"]).stdout
        self.assertIn("invalid_api_key", shown)
        self.assertIn(line["request_id"], self.cli("requests", "--status", "401", "--limit", "1000").stdout)
        self.assertEqual(self.ask("requests", "--status", "2xx"), [])
        self.assertIn("no request of this id", self.cli("requests", "show", "none", code=1).stderr)

    def test_explain(self):
        told = self.ask("explain", "--model", "mock-gpt")
        self.assertEqual(told["refusal"]["status"], 401)
        self.cli("project", "create", "p")
        self.cli("project", "budget", "p", "--period", "day", "--usd", "1")
        secret = self.ask("token", "create", "--project", "p", "t")["secret"]
        for who in (("--as", "p/t"), ("--as", secret), ("--project", "p")):
            told = self.ask("explain", "--model", "mock-gpt", *who)
            self.assertTrue(told["passes"], told)
            self.assertEqual(told["budgets"][0]["left_usd"], "1")
        shown = self.cli("explain", "--as", "p/t", "--model", "none").stdout
        self.assertIn("refused: 404 model_not_found", shown)
        self.assertIn("LEFT USD", shown)
        self.cli("explain", "--as", "p/t", "--project", "p", code=2)

    def test_backends_reload_backup_and_store(self):
        self.assertEqual(self.ask("backend", "list")[0]["circuit"]["state"], "closed")
        self.assertIn("mock", self.cli("backend", "list").stdout)
        self.assertEqual(self.ask("backend", "drain", "mock")["circuit"]["held"], True)
        self.assertEqual(self.ask("backend", "reset", "mock")["circuit"]["held"], False)
        self.assertIn("reloaded", self.cli("reload").stdout)
        with open(self.daemon.config, encoding="utf-8") as file:
            text = file.read()
        self.daemon.write_text(text + "nonsense: 1\n")
        self.assertIn("nonsense", self.cli("reload", code=1).stderr)
        self.daemon.write_text(text)
        self.assertEqual(self.ask("store", "show")["state"], "ok")
        self.cli("project", "create", "kept")
        self.assertEqual(self.ask("backup", "copy.db")["path"], "copy.db")
        self.assertIn("path", self.cli("backup", "../copy.db", code=1).stderr)

        checked = run("check", "--config", self.daemon.config, "--store")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("1 projects", checked.stdout)
        copy = os.path.join(self.folder, "offline.db")
        self.assertEqual(run("backup", "--config", self.daemon.config, copy).returncode, 1)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(run("backup", "--config", self.daemon.config, copy).returncode, 0)
        for path in (copy, os.path.join(self.folder, "copy.db")):
            with sqlite3.connect(path) as database:
                self.assertEqual(database.execute("SELECT name FROM projects").fetchall(), [("kept",)])
        self.assertEqual(run("backup", "--config", self.daemon.config).returncode, 2)

    def test_provider_keys_and_a_new_master_key(self):
        self.cli("project", "create", "p")
        secret = "sk-e2e-canary-0123456789"
        made = self.cli("key", "create", "--project", "p", "--backend", "mock", "main", input=secret + "\n")
        listed = self.cli("key", "list").stdout
        self.assertNotIn(secret, made.stdout + listed)
        self.cli("key", "replace", "key_1", input=secret + "2")
        self.cli("key", "replace", "key_1", input="", code=2)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon = self.serve_managed(key="cd" * 32, old=f'["{KEY}"]')
        self.assertEqual(self.ask("store", "reencrypt"), {"resealed": 1, "current": 0})
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon = self.serve_managed(key="cd" * 32)
        self.assertEqual(self.ask("store", "reencrypt"), {"resealed": 0, "current": 1})
        self.cli("key", "delete", "key_1")
        self.assertEqual(self.ask("key", "list"), [])
        with open(self.store, "rb") as file:
            self.assertNotIn(secret.encode(), file.read())

    def test_over_tls_with_its_own_ca(self):
        self.assertEqual(self.daemon.stop(), 0)
        certs = os.path.join(self.folder, "certs")
        self.daemon = self.serve(
            ops="health, admin", more=f"management: {{ token: {TOKEN} }}\n",
            ops_more=f", tls: {{ certificate: {certs}/server.crt, key: {certs}/server.key }}")
        url = f"https://localhost:{self.daemon.ops}"
        self.assertEqual(len(json.loads(
            self.cli("backend", "list", "--json", "--url", url, "--ca", f"{certs}/ca.crt").stdout)), 1)
        self.assertIn("cannot ask", self.cli("backend", "list", "--url", url, code=1).stderr)

    def test_a_reader_that_stops_ends_an_export(self):
        environment = dict(os.environ, LLM_PROXY_MANAGEMENT_TOKEN=TOKEN,
                           LLM_PROXY_MANAGEMENT_URL=f"http://127.0.0.1:{self.daemon.ops}")
        with subprocess.Popen([BINARY, "usage", "export"], env=environment, stdout=subprocess.PIPE) as export:
            export.stdout.close()
            self.assertIn(export.wait(timeout=GUARD), (0, 1))


if __name__ == "__main__":
    main()
