"""Qualtrics: the questionnaire (`.qsf`) and the export of its answers, linked with each other."""

from data_pipelines.formats.qualtrics.columns import Column
from data_pipelines.formats.qualtrics.export import Export, read_export
from data_pipelines.formats.qualtrics.questionnaire import (
    Block,
    Choice,
    Field,
    FlowNode,
    Question,
    Questionnaire,
)
from data_pipelines.formats.qualtrics.survey_file import read_questionnaire

__all__ = [
    "Block",
    "Choice",
    "Column",
    "Export",
    "Field",
    "FlowNode",
    "Question",
    "Questionnaire",
    "read_export",
    "read_questionnaire",
]
