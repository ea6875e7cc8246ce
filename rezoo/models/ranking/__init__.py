"""Rankers over rich features of a (query, item) pair."""

from rezoo.models.ranking.wide_deep import WideDeep

__all__ = ["WideDeep"]
