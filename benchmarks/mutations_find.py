"""Which mutants the objectives have, read from their source.

A mutant is one edit. The kinds, and where they are found:

- `t2`: the square of `temperature` or `self.temperature` becomes 1.
- `detach`: `x.detach()` becomes `x` where x comes from `teacher`: it names it, or a name that was
  assigned from it. Other calls of `detach` are bookkeeping and are left out: they hold no teacher.
- `mask`: a function's parameter `mask` or `pairs`, as masks are called here, becomes true
  everywhere: all its padding masks are gone together, however they are applied.
- `mask argument`: an objective gives `batch.mask | True` for `batch.mask`.
- `one fill`: `x.masked_fill(mask, value)` becomes `x`, alone.
- `one mask`: of `a & b`, or of a product with a mask, one side is left.
- `class fill`: as `one fill`, where what is left out is a class, not padding.
- `unit`: a sum over tokens or pairs is said to be one over rows, so the mean is another.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

KINDS = (
    "t2", "detach", "mask", "mask argument", "one fill", "one mask", "class fill", "unit",
)  # fmt: skip
UNITS = ("answers", "tokens", "token_pairs", "row_pairs", "batch")
PACKAGE = "distill_lab.objectives"
Found = tuple[str, ast.AST, str]
"""A kind, what is replaced, and by what."""


@dataclass(frozen=True)
class Mutant:
    """One edit of one file.

    Attributes:
        file: Name of the file.
        line: Where the edit is, counted from 1.
        function: What it is in, with its class.
        kind: One of `KINDS`.
        start: First byte that is replaced.
        end: The byte behind the last.
        before: What is replaced; nothing where something is put in.
        after: What is put there.
        number: Tells apart mutants that would have the same name.
    """

    file: str
    line: int
    function: str
    kind: str
    start: int
    end: int
    before: str
    after: str
    number: int = 1

    @property
    def name(self) -> str:
        """As the tables show it."""
        again = f" {self.number}" if self.number > 1 else ""
        return f"{self.file}:{self.line}:{self.function} {self.kind}{again}"

    @property
    def module(self) -> str:
        """The module that is mutated."""
        return f"{PACKAGE}.{Path(self.file).stem}"

    @property
    def owner(self) -> str:
        """The function or class of the module that is mutated."""
        return f"{self.module}.{self.function.split('.')[0]}"

    @property
    def change(self) -> str:
        """What is replaced by what, on one line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        after = after.removeprefix("(").removesuffix(")")
        return f"{before} → {after}" if before else f"+ {after}"

    def applied(self, source: str) -> str:
        """Return the mutated source."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Return functions and methods with their names; what is nested belongs to the outer one."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            methods = (child for child in node.body if isinstance(child, ast.FunctionDef))
            yield from ((f"{node.name}.{method.name}", method) for method in methods)


def mutants(source: str, file: str) -> list[Mutant]:
    """Return the mutants of a file in the order of its lines.

    Args:
        source: Its text.
        file: Its name.
    """
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for name, function in functions(ast.parse(source)):
        for kind, node, after in _found(function, source):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            if kind == "mask":  # is put before the statement
                end = start
            before = source.encode()[start:end].decode()
            found.append(Mutant(file, node.lineno, name, kind, start, end, before, after))
    return _numbered(sorted(found, key=lambda one: (one.start, one.end, one.kind)))


def left_out(source: str, file: str) -> list[str]:
    """Return the calls of `detach` that hold no teacher."""
    return [
        f"{file}:{node.lineno}:{name} {ast.unparse(node)}"
        for name, function in functions(ast.parse(source))
        for node in ast.walk(function)
        if _receiver(node, "detach") and not _mentions(node, _teachers(function))
    ]


def _numbered(found: list[Mutant]) -> list[Mutant]:
    seen: Counter[str] = Counter()
    for i, mutant in enumerate(found):
        seen[mutant.name] += 1
        found[i] = replace(mutant, number=seen[mutant.name])
    return found


def _found(function: ast.FunctionDef, source: str) -> Iterator[Found]:
    masks, teachers = _masks(function), _teachers(function)
    for argument in (*function.args.args, *function.args.kwonlyargs):
        if argument.arg in ("mask", "pairs"):
            first = function.body[1 if ast.get_docstring(function) else 0]
            name, none = argument.arg, "None" in ast.unparse(argument.annotation or argument)
            all_of = f"None if {name} is None else {name} | True" if none else f"{name} | True"
            text = f"{name} = {all_of}\n{' ' * first.col_offset}"
            yield "mask", first, text
    annotations = {id(n) for a in _annotations(function) for n in ast.walk(a)}
    for node in (n for n in ast.walk(function) if id(n) not in annotations):
        for kind, kept in _kept(node, masks, teachers):
            yield kind, node, f"({ast.get_source_segment(source, kept)})"
        if _is_square_of_temperature(node):
            yield "t2", node, "1.0"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "batch.mask":
            yield "mask argument", node, "(batch.mask | True)"
        elif isinstance(node, ast.Constant) and node.value in UNITS:
            yield "unit", node, '"rows"'


def _kept(node: ast.AST, masks: set[str], teachers: set[str]) -> Iterator[tuple[str, ast.expr]]:
    """Return the kinds of edit that leave one operand of an expression, and the operand."""
    if receiver := _receiver(node, "detach"):
        if _mentions(receiver, teachers):
            yield "detach", receiver
    elif receiver := _receiver(node, "masked_fill"):
        assert isinstance(node, ast.Call)
        yield ("one fill" if _is_mask(node.args[0], masks) else "class fill"), receiver
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        yield "one mask", node.left
        yield "one mask", node.right
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        if _is_mask(node.right, masks):
            yield "one mask", node.left
        elif _is_mask(node.left, masks):
            yield "one mask", node.right


def _receiver(node: ast.AST, method: str) -> ast.expr | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr == method else None
    return None


def _is_square_of_temperature(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Pow)
        and ast.unparse(node.left) in ("temperature", "self.temperature")
        and ast.unparse(node.right) == "2"
    )


def _is_mask(node: ast.AST, masks: set[str]) -> bool:
    """Whether an expression is a mask: one by name, or a view, comparison or cast of one."""
    match node:
        case ast.Name(id=name):
            return name in masks
        case ast.Subscript(value=inner) | ast.Compare(left=inner) | ast.UnaryOp(operand=inner):
            return _is_mask(inner, masks)
        case ast.Call(func=ast.Attribute(value=inner, attr="bool" | "float" | "to")):
            return _is_mask(inner, masks)
        case ast.BinOp(op=ast.BitAnd(), left=left, right=right):
            return _is_mask(left, masks) or _is_mask(right, masks)
    return False


def _masks(function: ast.FunctionDef) -> set[str]:
    """Return the names of a function's masks."""
    found = {"mask", "pairs"}
    while True:
        more = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_mask(node.value, found)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if more <= found:
            return found
        found |= more


def _teachers(function: ast.FunctionDef) -> set[str]:
    """Return the names of what comes from the teacher."""
    found = {"teacher"}
    while True:
        more = {
            name.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _mentions(node.value, found)
            for target in node.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if more <= found:
            return found
        found |= more


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


def _annotations(function: ast.FunctionDef) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if annotation:
            yield annotation
