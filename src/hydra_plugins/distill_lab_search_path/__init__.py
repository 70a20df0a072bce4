"""Lets Hydra find `experiments/`: the shipped one, and that of the working folder."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from distill_lab.config import experiments_dir


class DistillLabSearchPath(SearchPathPlugin):
    """Adds the folders that hold `experiments/` behind `conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder with the shipped studies, then the working folder."""
        search_path.append("distill-lab", f"file://{experiments_dir().parent}")
        search_path.append("distill-lab-cwd", "file://.")
