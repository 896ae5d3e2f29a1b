"""Response models of the similarity endpoint."""

from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.states import IssueStatus


class Match(StrEnum):
    """Search that found an issue: full text, or embedding vectors."""

    TEXT = "text"
    MEANING = "meaning"


class SimilarIssue(BaseModel):
    """A similar issue."""

    id: UUID
    title: str
    status: IssueStatus
    score: float = Field(
        ge=0,
        le=1,
        description="Similarity: the cosine of the two vectors if both exist, otherwise the share of the issue's "
        "distinctive words that the other contains, weighted by BM25",
    )
    by: str = Field(description="Origin of the score: the name of the model, or `full text`")
    matched_by: list[Match] = Field(description="Searches that found it")
    likely_duplicate: bool = Field(
        description="Whether it is an older open issue of the same project with nearly the same meaning and "
        "words. Nothing is closed or merged automatically"
    )


class SimilarIssues(BaseModel):
    """Similar issues, most relevant first; text and meaning both count."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "indexed": True,
                    "items": [
                        {
                            "id": "01a20614-800e-771f-862f-526a86f415ac",
                            "title": "Login button does nothing on Safari",
                            "status": "open",
                            "score": 0.91,
                            "by": "all-MiniLM-L6-v2",
                            "matched_by": ["text", "meaning"],
                            "likely_duplicate": True,
                        }
                    ],
                }
            ]
        }
    )

    indexed: bool = Field(
        description="False until the issue's index job has run; until then only the words of the title count"
    )
    items: list[SimilarIssue]
