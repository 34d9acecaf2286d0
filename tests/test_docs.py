"""What the documentation names exists, what README.md claims is so, nothing is written twice."""

import ast
import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

import pymc_sgmcmc
from pymc_sgmcmc import WarmUp
from pymc_sgmcmc.settings import declared
from tests import posteriors, public_names

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts and "generated" not in path.parts
)
TUTORIALS = [page for page in PAGES if re.match(r"docs/tutorials/(?!index)", page)]
IMPORTS = ("import ", "from ")
README = (ROOT / "README.md").read_text()


def code_cells(page):
    """Code of a tutorial, cell by cell, without its options."""
    cells = re.findall(r"```\{code-cell\}.*?\n(.*?)```", (ROOT / page).read_text(), re.S)
    return [re.sub(r"\A(:.*\n)+\n?", "", cell) for cell in cells]


# -- what is named exists --------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_files_named_exist(page):
    for path in re.findall(
        r"(?:examples|benchmarks|docs|tests)/[\w./-]*\w", (ROOT / page).read_text()
    ):
        if "_build" not in path and "output" not in path:
            assert (ROOT / path).exists(), f"{page} names {path}"


@pytest.mark.parametrize("page", PAGES)
def test_modules_named_exist(page):
    for name in re.findall(r"python -m ([\w.]+)", (ROOT / page).read_text()):
        assert importlib.util.find_spec(name), f"{page} names {name}"


def test_every_public_name_has_a_page():
    """In docs/api/index.md, from which the pages are made."""
    module, listed = "", []
    for line in (ROOT / "docs/api/index.md").read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            listed.append(f"{module}.{line.strip()}")
    public = set(public_names.OBJECTS) - {"pymc_sgmcmc.diagnostics.diagnose"}  # the top level's
    assert public | set(public_names.DYNAMICS) <= set(listed)
    assert len(listed) == len(set(listed))


# -- tutorials -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_is_complete(page):
    """One thumbnail, no committed output, code that parses, in the table of contents."""
    text = (ROOT / page).read_text()
    assert text.startswith("---\n")
    assert len(re.findall(r":tags: \[.*\bthumbnail\b", text)) == 1
    for cell in code_cells(page):
        ast.parse(re.sub(r"^[%!].*$", "", cell, flags=re.M))
    name = Path(page).stem
    assert f"\n{name}\n" in (ROOT / "docs/tutorials/index.md").read_text()
    assert f"tutorials/{name}\n" in (ROOT / "docs/index.md").read_text()


@pytest.mark.parametrize("page", [*TUTORIALS, "docs/cookbook.md"])
def test_what_a_page_runs_with_is_in_the_extra_docs(page):
    """Or comes with PyMC; examples have the site's folder on the path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = [*project["dependencies"], *project["optional-dependencies"]["docs"]]
    known = {re.match(r"[\w-]+", x).group() for x in given}
    known |= {"pymc_sgmcmc", "sklearn", "pandas", "matplotlib", *sys.stdlib_module_names}
    known |= {path.stem for path in (ROOT / "examples").glob("*.py")}
    for cell in code_cells(page):
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", cell, flags=re.M))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            else:
                found = [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in found} <= known


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_copies_no_example(page):
    """An example is a script that a tutorial tells about: nothing of it is written there again."""

    def passages(code, length=4):
        lines = [line.strip() for line in code.splitlines()]
        lines = [
            line for line in lines if len(line) > 3 and not line.startswith(("import", "from"))
        ]
        return {tuple(lines[i : i + length]) for i in range(len(lines) - length + 1)}

    ours = passages("\n".join(code_cells(page)))
    for example in (ROOT / "examples").glob("*.py"):
        assert not ours & passages(example.read_text()), f"{page} repeats {example.name}"


# -- README.md -------------------------------------------------------------------------------------


def rows(page, heading):
    """Cells of the table of a page whose header begins so."""
    table = (ROOT / page).read_text().split(heading)[1].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_readme_imports_what_there_is():
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert hasattr(importlib.import_module(node.module), alias.name)


def test_readme_names_arguments_that_exist():
    taken = set(inspect.signature(pymc_sgmcmc.ATMC).parameters)
    named = set(re.findall(r"`(\w+)=[^`]*`", README)) - {"mp_ctx", "cores"}
    within = re.findall(r"`warmup=WarmUp\(([^`]*)\)`", README)
    assert re.findall(r"\w+", within[0]) == [field.name for field in declared(WarmUp)]
    listed = re.search(r"All take (.*?) and more", README, re.S)[1]
    assert named | set(re.findall(r"`(\w+)`", listed)) <= taken
    assert "warmup" in named


def test_readme_says_what_the_reference_posteriors_gave():
    table = rows("docs/exactness.md", "| sampler | largest error of a mean, in sd | sds / ref")
    (row,) = [row for row in table if row[0] == "ATMC"]
    low, high = map(float, row[2].split("-"))
    claim = re.search(r"On the (\d+) posteriors.*?within ([\d.]+) .*?within (\d+)%", README, re.S)
    assert int(claim[1]) == len(posteriors.NAMES)
    assert float(row[1]) <= float(claim[2])
    assert max(1 - low, high - 1) <= int(claim[3]) / 100 + 1e-9


def test_readme_says_what_the_uci_sets_gave():
    """Lower errors and higher log-likelihoods than the three published methods, on all four."""
    table = rows("docs/networks.md", "| set (splits) |")
    assert {row[0].split()[0] for row in table} == {"concrete", "energy", "protein", "yacht"}
    for row in table:
        figures = [re.match(r"[−-]?[\d.]+", row[i])[0].replace("−", "-") for i in (2, 4, 5, 6)]
        ours, *others = map(float, figures)
        assert ours < min(others) if row[1] == "RMSE" else ours > max(others), row


# -- what diagnose tells ---------------------------------------------------------------------------


def test_every_check_of_diagnose_is_explained():
    """Under a heading of its name, or of the first word where a variable's name follows."""
    sources = ("report/signs.py", "diagnostics/diagnosis.py")
    text = "\n".join((ROOT / "pymc_sgmcmc" / source).read_text() for source in sources)
    checks = set(re.findall(r'Finding\(\s*f?"([\w\- ]+?)(?: \{name\})?",', text))
    explained = re.findall(r"^### (.+)$", (ROOT / "docs/messages.md").read_text(), re.M)
    assert {"step size", "constant", "variable", "R-hat"} <= checks
    assert checks <= set(explained)
    assert len(explained) == len(set(explained))


def test_the_conda_recipe_needs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / "conda/recipe.yaml").read_text()
    assert f'version: "{project["version"]}"' in recipe
    wanted = {f"python {project['requires-python']}"}
    for given in project["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", given).groups()
        wanted.add(f"{name} {bounds}")
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    assert set(re.findall(r"- (.+)", run)) == wanted
