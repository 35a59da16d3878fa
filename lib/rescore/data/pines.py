"""The 126 Finnish pine saplings (`finpines` of the R package spatstat; S. Kellomaki, A. Penttinen)."""

from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.fetch import cache_folder, check, data_folder, download
from rescore.errors import MissingData

if TYPE_CHECKING:
    import pandas as pd

URL = "https://raw.githubusercontent.com/spatstat/spatstat.data/v3.1-8/inst/rawdata/finpines/finpines.txt"
SHA256_METRES = "7d3feb40248a54d2912a652339f8cab3ff50a68994ab83462d5b7dfd839a29cf"  # spatstat's own table
SHA256_UNIT = (
    "c57af2e9f2a38ed99a3884fbf81ad1b0c607adcf7749bad53a6df66ef313c89a"  # the unit-square table used by samplers' papers
)


def pines_at_hand() -> bool:
    """Looked up without a download or a digest: a job that did without them runs again once they are there."""
    folder = data_folder()
    places = [cache_folder() / "finpines.txt"]
    if folder is not None:
        places += [folder / "finpines" / "pines.csv", folder / "finpines" / "finpines.txt"]
    return any(place.exists() for place in places)


def find_pines() -> Path:
    """The file: under RESCORE_DATA (`finpines/pines.csv` or `finpines/finpines.txt`), else downloaded.

    Raises MissingData if there is none, RescoreError if its checksum is wrong.
    """
    folder = data_folder()
    if folder is not None:
        for name, digest in (("pines.csv", SHA256_UNIT), ("finpines.txt", SHA256_METRES)):
            path = folder / "finpines" / name
            if path.exists():
                return check(path, digest)
    try:
        return download(URL, SHA256_METRES, "finpines.txt")
    except MissingData as error:
        raise MissingData(f"{error}; set RESCORE_DATA to a folder that holds finpines/finpines.txt") from None


def load_pines() -> "pd.DataFrame":
    """Positions on the unit square, columns x and y, 126 rows. Errors as `find_pines`."""
    import pandas as pd  # slow to import, and configs import this module

    path = find_pines()  # its checksum is right, so it can be read
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        return table[["data_x", "data_y"]].set_axis(["x", "y"], axis=1)
    metres = pd.read_csv(path, sep=r"\s+")  # the plot is [-5, 5] m x [-8, 2] m
    return pd.DataFrame({"x": (metres["x"] + 5) / 10, "y": (metres["y"] + 8) / 10})
