"""Lets Hydra find `experiments/`: the shipped one, and that of the working folder."""

from __future__ import annotations

# As a module: Hydra registers every plugin that it finds among the names of this one.
from hydra._internal.core_plugins import file_config_source
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from distill_lab.config import experiments_dir

_GROUP = "experiments"


class ExperimentsSource(file_config_source.FileConfigSource):
    """A folder of which only `experiments/` is looked at.

    Whatever else lies there is none of Hydra's: a folder named `study` would be taken for a group,
    and `study=NAME` for the choice of one of its files.
    """

    @staticmethod
    def scheme() -> str:
        """Return how a search path names such a folder."""
        return _GROUP

    def is_group(self, config_path: str) -> bool:
        """Whether a path is the folder itself, `experiments/`, or one in that."""
        return config_path.partition("/")[0] in ("", _GROUP) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether a path is a yaml in `experiments/`."""
        return config_path.startswith(f"{_GROUP}/") and super().is_config(config_path)


class DistillLabSearchPath(SearchPathPlugin):
    """Adds the folders that hold `experiments/` behind `conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder with the shipped studies, then the working folder."""
        search_path.append("distill-lab", f"{_GROUP}://{experiments_dir().parent}")
        search_path.append("distill-lab-cwd", f"{_GROUP}://.")
