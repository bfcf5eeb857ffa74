"""Build the samples that are not in C: ``python samples/languages.py LANGUAGE [--into FOLDER] [--tools FOLDER]``.

``--tools`` has what ``make languages`` installs there. Rust comes from the system: Debian's packages ``rustc``,
``libstd-rust-dev-wasm32`` and ``lld``, or rustup with the target ``wasm32-wasip1``.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent.absolute()
TOOLS = FOLDER.parent / "build" / "languages"
RUST_FLAGS = [
    "--edition=2021",
    "-C",
    "opt-level=s",
    "-C",
    "lto",
    "-C",
    "codegen-units=1",
    "-C",
    "panic=abort",
    "-C",
    "strip=symbols",
]
RUST_TARGETS = ("wasm32-wasip1", "wasm32-wasi")
"""The name since Rust 1.78, and the one before."""
KEPT = (
    *("rust/uppercase", "rust/funless_fetch"),
    *("assemblyscript/uppercase", "assemblyscript/sum", "assemblyscript/funless_fetch"),
)
"""Those that are small enough to be committed."""


def build_go(name: str, target: Path, tools: Path, *, folder: Path = FOLDER / "go") -> None:
    """Build a package of the folder ``go``; one of Capsule's as a library, whose functions are called."""
    mode = ["-buildmode=c-shared"] if name.startswith("capsule") else []
    offline = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    subprocess.run(
        [tools / "bin" / "go", "build", "-trimpath", *mode, "-ldflags=-s -w", "-o", target, f"./{name}"],
        cwd=folder,
        env=os.environ | {"GOOS": "wasip1", "GOARCH": "wasm"} | offline,
        check=True,
    )


def build_python(name: str, target: Path, tools: Path, *, folder: Path = FOLDER / "python") -> None:
    """Build a component of a Python module in a folder, CPython included."""
    world = ["-d", FOLDER / "python" / "wit", "-w", "guest"]
    command = [tools / "bin" / "componentize-py", *world, "componentize", name, "-p", folder, "-o", target]
    subprocess.run(command, cwd=folder, check=True)


def build_rust(name: str, target: Path, _tools: Path) -> None:
    """Build a program; or the function of FunLess, which is a library."""
    rustc, platform = find_rust() or ("rustc", RUST_TARGETS[0])
    kind = ["--crate-type=cdylib"] if name.startswith("funless") else []
    command = [rustc, f"--target={platform}", *RUST_FLAGS, *kind, f"{name}.rs", "-o", target]
    subprocess.run(command, cwd=FOLDER / "rust", check=True)
    target.chmod(0o644)


def build_assemblyscript(name: str, target: Path, tools: Path) -> None:
    """Build a program; or the function of FunLess, which is a library."""
    # The compiler wants its packages beside the sources.
    modules = FOLDER / "assemblyscript" / "node_modules"
    if modules.is_symlink():
        modules.unlink()
    if not modules.exists():
        modules.symlink_to((tools / "node_modules").absolute())
    config = ["--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"]
    library = ["--exportStart", "_initialize", "--use", "abort="]
    way = library if name.startswith("funless") else config
    command = [modules / ".bin" / "asc", f"{name}.ts", "-o", target, *way, "-Osize", "--noAssert"]
    subprocess.run(command, cwd=FOLDER / "assemblyscript", check=True)


def find_rust() -> tuple[str, str] | None:
    """Return the first compiler in PATH that has the library for a target, and that target; None: there is none.

    Whoever has rustup beside Debian's packages has two, and perhaps only the second can do it.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    compilers = [found for folder in folders if (found := shutil.which("rustc", path=folder))]
    pairs = ((rustc, target) for rustc in dict.fromkeys(compilers) for target in RUST_TARGETS)
    return next((pair for pair in pairs if _has_library(*pair)), None)


def _has_library(rustc: str, target: str) -> bool:
    command = [rustc, "--print", "target-libdir", "--target", target]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.returncode == 0 and Path(told.stdout.strip()).is_dir()


LANGUAGES = {
    "go": (build_go, ("uppercase", "sum", "capsule_greeting")),
    "python": (build_python, ("uppercase", "sum")),
    "rust": (build_rust, ("uppercase", "sum", "funless_fetch")),
    "assemblyscript": (build_assemblyscript, ("uppercase", "sum", "funless_fetch")),
}


def find_missing(language: str, tools: Path) -> str | None:
    """Return what is needed for a language and is not there; None when all is."""
    if language == "rust":
        return None if find_rust() else f"rustc with the target {RUST_TARGETS[0]}"
    needed = tools / {
        "go": "bin/go", "python": "bin/componentize-py", "assemblyscript": "node_modules/.bin/asc",
        "javascript": "node_modules/@bytecodealliance/componentize-js",
    }[language]  # fmt: skip
    return None if needed.exists() else str(needed)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the samples that are not in C.")
    parser.add_argument("languages", nargs="+", metavar="LANGUAGE", choices=LANGUAGES, help="which")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder for the wasm files")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="where `make languages` put the compilers")
    options = parser.parse_args()
    for language in options.languages:
        build, names = LANGUAGES[language]
        for name in names:
            target = options.into.absolute() / language / f"{name}.wasm"
            target.parent.mkdir(parents=True, exist_ok=True)
            build(name, target, options.tools)
            print(f"{target.stat().st_size:10,d}  {language}/{name}.wasm")


if __name__ == "__main__":
    main()
