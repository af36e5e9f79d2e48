"""npm packages for tests: tests/web/package.json installed into build/web, once."""
import fcntl
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEB = os.path.join(ROOT, "build", "web")


def install():
    """Returns the folder in which node finds the packages."""
    package = os.path.join(ROOT, "tests", "web", "package.json")
    mine = os.path.join(WEB, "installed.json")
    os.makedirs(WEB, exist_ok=True)
    with open(os.path.join(WEB, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tests want it at the same time
        with open(package, encoding="utf-8") as file:
            wanted = file.read()
        if os.path.exists(mine) and open(mine, encoding="utf-8").read() == wanted:
            return WEB
        shutil.copy(package, os.path.join(WEB, "package.json"))
        run = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock",
                              "--ignore-scripts"], cwd=WEB, capture_output=True, text=True,
                             timeout=300)
        if run.returncode != 0:
            raise RuntimeError(f"npm install failed: {run.stderr[-800:]}")
        shutil.copy(package, mine)
    return WEB
