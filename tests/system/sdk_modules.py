"""The vendor's npm packages, installed once into build/sdk by the lock file of tests/system/sdk."""
import fcntl
import filecmp
import os
import shutil
import subprocess

from harness import KEY, LOGSTORE, PROJECT, ROOT, check

MODULES = os.path.join(ROOT, "build", "sdk")
SOURCES = os.path.join(ROOT, "tests", "system", "sdk")
DONE = os.path.join(MODULES, "installed.json")


def install():
    """npm ci, unless what is there was made by the same lock file."""
    os.makedirs(MODULES, exist_ok=True)
    with open(os.path.join(MODULES, ".lock"), "w", encoding="utf-8") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)  # another test may be at it
        install_alone()


def install_alone():
    lock = os.path.join(SOURCES, "package-lock.json")
    if os.path.exists(DONE) and filecmp.cmp(lock, DONE, shallow=False):
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(SOURCES, name), MODULES)
    run = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=MODULES,
                         capture_output=True, text=True, timeout=300)
    check(run.returncode == 0, f"npm ci failed: {run.stderr[-800:]}")
    shutil.copy(lock, DONE)


def environment(**more):
    return dict(os.environ, SDK_MODULES=MODULES, SDK_KEY_ID=KEY[0], SDK_KEY_SECRET=KEY[1],
                SDK_PROJECT=PROJECT, SDK_LOGSTORE=LOGSTORE, **more)


def script(name):
    return os.path.join(SOURCES, name)
