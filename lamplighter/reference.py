"""The spec's JSON Schema for editors, and its reference as Markdown, both made from the pydantic model."""

from __future__ import annotations

from typing import Any

from jobs.spec import ModelSpec


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a model.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "model.yaml of Lamplighter",
        **ModelSpec.model_json_schema(),
    }


def reference() -> str:
    """The reference of a model.yaml as Markdown: a table for the spec and one for each of its parts."""
    whole = schema()
    lines = [
        "# The spec: `models/<name>/model.yaml`",
        "",
        "Generated from the code by `make docs`; a test keeps it true. Editors complete and check a spec with",
        "`docs/model.schema.json`: its first line names it.",
        "",
        *_table("The whole spec", whole, whole["$defs"]),
    ]
    for name, part in sorted(whole["$defs"].items()):
        if "properties" in part:
            lines += _table(name, part, whole["$defs"])
    return "\n".join(lines).rstrip() + "\n"


def _table(title: str, part: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    required = set(part.get("required", ()))
    rows = [
        f"| `{key}` | {_kind(field, definitions)} | {_default(key, field, required)} | {_about(field, definitions)} |"
        for key, field in part["properties"].items()
    ]
    about = part.get("description", "")
    return [
        f"## {title}",
        "",
        about,
        "",
        "| key | value | default | what it is |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in words, with links to the tables of the parts."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return _choices(definitions[name]) or f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(option, definitions) for option in field["anyOf"])
    return _choices(field) or _plain(field, definitions)


def _choices(field: dict[str, Any]) -> str:
    values = field.get("enum", [field["const"]] if "const" in field else [])
    return ", ".join(f"`{value}`" for value in values)


def _plain(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(field.get('items', {}), definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping of names to {_kind(field['additionalProperties'], definitions)}"
    if "pattern" in field:
        return f"{kind} like `{field['pattern']}`"
    return "nothing" if kind == "null" else kind


def _default(key: str, field: dict[str, Any], required: set[str]) -> str:
    if key in required:
        return "**required**"
    default = field.get("default")
    return "" if default in (None, {}, []) or isinstance(default, dict) else f"`{default}`"


def _about(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    text = field.get("description")
    if text is None and "$ref" in field:
        text = definitions[field["$ref"].rsplit("/", 1)[1]].get("description")
    return (text or "").replace("\n", " ").replace("|", "\\|")
