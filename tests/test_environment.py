"""The files that describe the environment and the release agree with `pyproject.toml`."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
GPU_LOCK = (ROOT / "requirements-gpu.lock").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SUPPORTED = SpecifierSet(PROJECT["requires-python"])
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SUPPORTED]
PLATFORMS = {  # platform_system: sys_platform, os_name, platform_machine
    "Linux": ("linux", "posix", "x86_64"),
    "Darwin": ("darwin", "posix", "arm64"),
    "Windows": ("win32", "nt", "AMD64"),
}

# What may stand in the lock: pinned versions, some with a marker, each followed by its hashes.
PIN = re.compile(r"[a-z0-9-]+==[^\s;]+( ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def read_lock(text):
    """Return (requirement, number of hashes) for each pin; refuse whatever else stands in a lock."""
    pins = []
    for entry in text.replace("\\\n", "\n").split("\n"):
        line = entry.strip()
        if HASH.fullmatch(line) and pins:
            pins[-1][1] += 1
        elif PIN.fullmatch(line) and entry[0] != " ":
            pins.append([Requirement(line), 0])
        elif line:
            raise ValueError(f"lock: got {line!r}, must be NAME==VERSION [; MARKER] or --hash=sha256")
    return [tuple(pin) for pin in pins]


def direct_requirements():
    """Return what `make setup` has to find in the lock: to run, to test, to show and to build the package."""
    extras = sum((wanted for name, wanted in EXTRAS.items() if name != "gpu"), [])
    return [Requirement(text) for text in PROJECT["dependencies"] + extras + PYPROJECT["build-system"]["requires"]]


def target(python, platform_system):
    """Return the environment in which markers are evaluated."""
    names = ("sys_platform", "os_name", "platform_machine")
    found = dict(zip(names, PLATFORMS[platform_system], strict=True))
    found |= {"platform_system": platform_system, "implementation_name": "cpython"}
    return found | {"python_version": python, "python_full_version": f"{python}.9"}


def locked_versions(lock, where):
    """Return the version of each package that the lock installs in this environment."""
    versions = {}
    for pin, _ in read_lock(lock):
        if pin.marker is None or pin.marker.evaluate(where):
            assert pin.name not in versions, f"two versions of {pin.name} are locked for {where}"
            versions[pin.name] = str(pin.specifier).removeprefix("==")
    return versions


@pytest.mark.parametrize("platform_system", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_serves_every_dependency_on_every_platform(python, platform_system):
    versions = locked_versions(LOCK, target(python, platform_system))
    for wanted in direct_requirements():
        version = versions.get(canonicalize_name(wanted.name))
        assert version, f"{wanted} is not in the lock: run `make lock`"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted}, but {version} is locked"


@pytest.mark.parametrize(("lock", "least"), [(LOCK, 101), (GPU_LOCK, 10)], ids=["base", "gpu"])
def test_lock_pins_are_hashed_and_name_no_host(lock, least):
    pins = read_lock(lock)
    assert len(pins) >= least
    assert [pin.name for pin, hashes in pins if not hashes] == []


@pytest.mark.parametrize("platform_system", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_gpu_lock_adds_the_cuda_libraries_of_the_locked_tensorflow_on_linux_only(python, platform_system):
    where = target(python, platform_system)
    base, added = (locked_versions(lock, where) for lock in (LOCK, GPU_LOCK))
    assert not set(base) & set(added)
    assert not [name for name in base if name.startswith("nvidia")]
    (extra,) = map(Requirement, EXTRAS["gpu"])
    (tensorflow,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "tensorflow")
    assert (extra.name, extra.extras, extra.specifier) == ("tensorflow", {"and-cuda"}, tensorflow.specifier)
    if not extra.marker.evaluate(where):
        assert not added
        return
    assert metadata.version("tensorflow") == base["tensorflow"], "run `make setup`"
    wanted = [r for r in map(Requirement, metadata.requires("tensorflow")) if "and-cuda" in str(r.marker)]
    wanted = [r for r in wanted if r.marker.evaluate(where | {"extra": "and-cuda"})]
    assert {r.name for r in wanted} == set(added)
    for library in wanted:
        assert library.specifier.contains(added[library.name]), f"{library}, but {added[library.name]} is locked"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "--find-links wheels",
        "numpy @ https://example.org/numpy.whl",
        "-e .",
        "numpy>=2.1",
        "    # via pandas",
    ],
)
def test_lock_reader_refuses_hosts_and_unpinned_lines(line):
    with pytest.raises(ValueError, match="must be NAME==VERSION"):
        read_lock(f"numpy==2.4.6 \\\n    --hash=sha256:{'0' * 64}\n{line}\n")


def test_lock_reader_counts_hashes():
    text = f"numpy==2.4.6 ; python_version < '3.12' \\\n    --hash=sha256:{'0' * 64}\nscipy==1.17.1\n"
    assert [(pin.name, hashes) for pin, hashes in read_lock(text)] == [("numpy", 1), ("scipy", 0)]


def test_conda_environment_takes_its_packages_from_pyproject():
    assert set(ENVIRONMENT) <= {"name", "channels", "dependencies", "variables"}
    assert ENVIRONMENT["name"] == PROJECT["name"]
    conda = [Requirement(entry) for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    assert {requirement.name for requirement in conda} == {"python", "pip"}
    assert {requirement.name: requirement.specifier for requirement in conda}["python"] == SUPPORTED
    assert pip == [f"-e .[{','.join(name for name in EXTRAS if name != 'gpu')}]"]


def test_python_versions_agree():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    low, high = re.search(r"\(3, (\d+)\) <= sys\.version_info\[:2\] < \(3, (\d+)\)", makefile).groups()
    assert SpecifierSet(f">=3.{low},<3.{high}") == SUPPORTED
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    tested = workflow["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    assert [tested[0], tested[-1]] == [PYTHONS[0], PYTHONS[-1]]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")


def test_the_browser_tests_run_apart():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "browser" in PYPROJECT["tool"]["pytest"]["ini_options"]["norecursedirs"]
    assert "-m pytest -q tests/browser" in makefile
    assert all(f"--extra {name} " in makefile for name in EXTRAS)
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = [step.get("run", "") for step in workflow["jobs"]["browser"]["steps"]]
    assert any("--no-install-recommends chromium" in command for command in commands)
    assert any("make test-browser" in command for command in commands)


def test_release_files_agree_with_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert PROJECT["urls"]["Paper"].endswith(citation["references"][0]["doi"])
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_notebooks_are_stored_without_outputs():
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"run `make format`: {done.stdout}{done.stderr}"
