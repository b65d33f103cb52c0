"""What a model learns to predict, as a digest: a change of it is a new major version."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from model_registry.codec import digest

if TYPE_CHECKING:
    from jobs.spec import ModelSpec


def target_digest(spec: ModelSpec, pipeline: str) -> str:
    """A digest of the task, the label's columns, and `label()` with the constants that it names.

    `pipeline` is the text of pipeline.py; comments, docstrings and layout make no difference.
    """
    tree = ast.parse(pipeline)
    label = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "label"]
    names = {node.id for function in label for node in ast.walk(function) if isinstance(node, ast.Name)}
    constants = [
        node
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and names & {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    ]
    bodies = [ast.dump(statement) for function in label for statement in function.body if not _is_docstring(statement)]
    return digest([spec.task, list(spec.label.columns), bodies, [ast.dump(node) for node in constants]])


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
