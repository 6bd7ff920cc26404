"""What all tables of a case file share, the settings of decoders among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A table that knows all its keys, takes TOML's types as they are, and describes each key for editors.

    Keys named in ``required`` are None where the file lacks them or has them wrong, so that the rest of the table can
    be checked all the same; ``parity.case.mistakes`` tells of them.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    required: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the table's JSON Schema with its required keys."""
        schema = handler(core_schema)
        target = handler.resolve_ref_schema(schema)
        target["required"] = [*target.get("required", []), *cls.required]
        return schema
