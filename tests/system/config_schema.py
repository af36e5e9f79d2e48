#!/usr/bin/python3 -B
"""JSON Schema and --check give the same verdict, and --check names each problem's place.

tests/vectors/config holds good and bad configurations, tests/vectors/config.json the place of each
one's problem. ajv, a validator that shares no code with us, judges them by etc/sls-relay.schema.json;
the relay judges them by --check. Every example in etc/ must be good to both. Then one file with many
mistakes shows that --check names all of them, each with its line and the nearest name.
"""
import glob
import json
import os
import subprocess
import sys

import harness
from harness import ROOT, check, clean_env

sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import nodes  # noqa: E402

MANY = """{
  "source": { "endpoint": "https://cn-hangzhou.log.aliyuncs.com", "project": "Demo",
    "logstore": ["audit"],
    "consumer_group": "siem", "access_key_id": "id", "access_key_secret": "key",
    "heartbeat_timeout": "10s" },
  "spool": { "max_sise": "1GiB" },
  "targets": [ { "host": "siem.example.com",
                 "port": 99999 } ]
}
"""


def by_schema(files):
    env = dict(os.environ, NODE_PATH=os.path.join(nodes.install(), "node_modules"))
    done = subprocess.run(["node", os.path.join(ROOT, "tests/web/validate.js"),
                           os.path.join(ROOT, "etc/sls-relay.schema.json"), *files],
                          capture_output=True, text=True, env=env, timeout=120)
    check(done.returncode == 0, f"ajv: {done.stderr}")
    return json.loads(done.stdout)


def by_check(rig, file):
    return rig.run("sls-relay", "-c", file, "--check", code=None)


def complete(properties, config, place):
    """The packaged configuration spells out every key that has a default."""
    for key, schema in properties.items():
        if "properties" in schema:
            complete(schema["properties"], config[key], f"{place}.{key}")
        elif "default" in schema and key != "cert_path":  # an older name
            check(key in config, f"etc/sls-relay.json lacks {place}.{key}")


def test(rig):
    with open(os.path.join(ROOT, "tests/vectors/config.json"), encoding="utf-8") as table:
        expected = json.load(table)
    folder = os.path.join(ROOT, "tests/vectors/config")
    check(set(os.listdir(folder)) == set(expected), "config.json lists other files than there are")
    verdicts = by_schema([os.path.join(folder, name) for name in sorted(expected)])
    for name, place in sorted(expected.items()):
        file = os.path.join(folder, name)
        done = by_check(rig, file)
        check((done.returncode == 0) == (place is None) and done.returncode in (0, 78),
              f"{name}: --check says {done.returncode}: {done.stderr}")
        check((verdicts[file] == []) == (place is None), f"{name}: ajv says {verdicts[file]}")
        check(place is None or f"sls-relay: {place}, line " in done.stderr,
              f"{name}: {place} is not in: {done.stderr}")
    print(f"{len(expected)} configurations, {sum(p is None for p in expected.values())} of them good")

    with open(os.path.join(ROOT, "etc/sls-relay.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    with open(os.path.join(ROOT, "etc/sls-relay.json"), encoding="utf-8") as file:
        config = json.load(file)
    complete(schema["$defs"]["source"]["properties"], config["source"], "source")
    complete(schema["$defs"]["target"]["properties"], config["targets"][0], "targets[0]")
    for area in ("format", "spool", "log", "metrics"):
        complete(schema["properties"][area]["properties"], config[area], area)

    examples = [file for file in glob.glob(os.path.join(ROOT, "etc/*.json"))
                if not file.endswith((".schema.json", ".dashboard.json"))]
    env = dict(clean_env(), SLS_AK_ID="id", SLS_AK_KEY="key")
    for file, errors in by_schema(examples).items():
        check(errors == [], f"{file}: ajv says {errors}")
        done = subprocess.run([rig.tool("sls-relay"), "-c", file, "--check"], env=env,
                              capture_output=True, text=True, timeout=60)
        check(done.returncode == 0, f"{file}: {done.stderr}")

    with open(rig.path("many.json"), "w", encoding="utf-8") as file:
        file.write(MANY)
    os.chmod(rig.path("many.json"), 0o600)
    done = by_check(rig, rig.path("many.json"))
    for place, line, words in (("$.source.project", 2, "lower-case"),
                               ("$.source.logstore", 3, '"logstores"'),
                               ("$.source.heartbeat_timeout", 5, "twice"),
                               ("$.spool.max_sise", 6, '"max_size"'),
                               ("$.targets[0].port", 8, "65535")):
        check(any(f"{place}, line {line} of " in text and words in text
                  for text in done.stderr.split("\n")), f"{place}:{line} is not in: {done.stderr}")
    check(done.returncode == 78, f"exit {done.returncode}")


harness.main(test)
