"""What the similarity endpoint answers."""

from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.states import IssueStatus


class Match(StrEnum):
    """In what two issues agree."""

    TEXT = "text"
    MEANING = "meaning"


class SimilarIssue(BaseModel):
    """An issue that resembles the one that was asked about."""

    id: UUID
    title: str
    status: IssueStatus
    score: float = Field(
        ge=0,
        le=1,
        description="How alike the two are: the cosine of their vectors where both have one, else the share of "
        "the issue's telling words that the other has, by BM25",
    )
    by: str = Field(description="What the score is from: the model's name, or `full text`")
    matched_by: list[Match] = Field(description="By what it was found")
    likely_duplicate: bool = Field(
        description="It is an older open issue of the same project, and says nearly the same in meaning and in "
        "words; a person decides, nothing is closed or merged"
    )


class SimilarIssues(BaseModel):
    """The issues that resemble an issue, the most relevant first: text and meaning together decide the order."""

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
        description="False as long as its index job has not run: then only its title's words were looked for"
    )
    items: list[SimilarIssue]
